package cassandra

import (
	"fmt"
	"math/bits"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
)

// Scheme is how the address of such a store begins.
const Scheme = "cassandra"

// Options of a store, as its address gives them: cassandra://host1,host2:9042/keyspace?rf=3&timeout=10s.
type Options struct {
	Hosts    []string // with ports; the others of the ring are found through them
	Keyspace string

	RF          int                // replication factor of a keyspace that is made; 0: 3, on a one-node ring 1
	Consistency *gocql.Consistency // nil: QUORUM, with one replica ONE
	DC          string             // the data centre to talk to and to keep data in; empty: that of the first host
	Timeout     time.Duration      // of one request
	Retries     int                // of a request that failed, with exponentially growing pauses
	Buckets     int                // partitions a minute of a case that is made, a power of two; 0: 16, on a one-node ring 1
	InFlight    int64              // bytes of writes under way at once

	User         string
	PasswordFile string
	CA           string // file with the certificates that sign the servers': TLS is used
	Cert, Key    string // files of this client's own certificate

	// Existing refuses a keyspace that is not there, or has no tables, where they would be made.
	Existing bool
	// Say is told, in a line each, what was chosen or looks unsafe. nil: nobody is told.
	Say func(string)
}

// Defaults and limits of the options.
const (
	defaultPort     = "9042"
	defaultTimeout  = 10 * time.Second
	defaultRetries  = 6
	defaultRF       = 3
	defaultBuckets  = 16
	maxBuckets      = 256
	defaultInFlight = 8 << 20
	minInFlight     = 1 << 20
)

var keyspaceShape = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)

// ParseURL reads the address of a store. Every error is one of usage.
func ParseURL(uri string) (Options, error) {
	o := Options{Timeout: defaultTimeout, Retries: defaultRetries, InFlight: defaultInFlight}
	bad := func(format string, a ...any) (Options, error) {
		return Options{}, ntpac.Usagef("--store %s: %s", redacted(uri), fmt.Sprintf(format, a...))
	}
	rest, ok := strings.CutPrefix(uri, Scheme+"://")
	if !ok {
		return bad("it begins with %s://", Scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, keyspace, _ := strings.Cut(rest, "/")
	if strings.Contains(hosts, "@") {
		return bad("a password here would be seen by everybody on this machine: use ?user=NAME&password-file=FILE")
	}
	for _, h := range strings.Split(hosts, ",") {
		h, err := hostPort(h)
		if err != nil {
			return bad("%v", err)
		}
		o.Hosts = append(o.Hosts, h)
	}
	if !keyspaceShape.MatchString(keyspace) {
		return bad("behind the hosts comes /KEYSPACE: a letter, then letters, digits or _, lower case, at most 48")
	}
	o.Keyspace = keyspace
	seen := map[string]bool{}
	for _, kv := range strings.Split(query, "&") {
		if kv == "" {
			continue
		}
		k, v, _ := strings.Cut(kv, "=")
		if seen[k] {
			return bad("%s is given twice", k)
		}
		seen[k] = true
		if err := o.set(k, v); err != nil {
			return bad("%v", err)
		}
	}
	if (o.Cert == "") != (o.Key == "") || o.Cert != "" && o.CA == "" {
		return bad("cert and key go together, and with ca")
	}
	if (o.User == "") != (o.PasswordFile == "") {
		return bad("user and password-file go together")
	}
	return o, nil
}

// redacted is the address without what stands before an @, which may be a password.
func redacted(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if at := strings.LastIndex(rest, "@"); ok && at >= 0 {
		return scheme + "://..." + rest[at:]
	}
	return uri
}

func hostPort(h string) (string, error) {
	host, port := h, defaultPort
	if i := strings.LastIndex(h, ":"); i >= 0 && !strings.HasSuffix(h, "]") && strings.Count(h, ":")-strings.Count(h[:max(strings.LastIndex(h, "]"), 0)], ":") == 1 {
		host, port = h[:i], h[i+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("host %q: the port is a number from 1 to 65535", h)
	}
	if host == "" || strings.ContainsAny(host, "/?#@[] ") {
		return "", fmt.Errorf("host %q: that is no host", h)
	}
	return net.JoinHostPort(host, port), nil
}

// options are the keys that an address may have, and how each is read.
var options = []struct {
	key string
	set func(o *Options, v string) error
}{
	{"rf", func(o *Options, v string) (err error) { o.RF, err = number(v, 1, 9); return err }},
	{"consistency", func(o *Options, v string) error {
		c, ok := map[string]gocql.Consistency{"one": gocql.One, "quorum": gocql.Quorum, "local_quorum": gocql.LocalQuorum, "all": gocql.All}[v]
		if !ok {
			return fmt.Errorf("it is one, quorum, local_quorum or all")
		}
		o.Consistency = &c
		return nil
	}},
	{"timeout", func(o *Options, v string) (err error) {
		o.Timeout, err = time.ParseDuration(v)
		if err != nil || o.Timeout < 100*time.Millisecond || o.Timeout > time.Hour {
			return fmt.Errorf("it is a time such as 10s, from 100ms to 1h")
		}
		return nil
	}},
	{"retries", func(o *Options, v string) (err error) { o.Retries, err = number(v, 0, 100); return err }},
	{"dc", func(o *Options, v string) error {
		if v == "" || strings.ContainsAny(v, "'\"\\") {
			return fmt.Errorf("it is the name of a data centre")
		}
		o.DC = v
		return nil
	}},
	{"buckets", func(o *Options, v string) (err error) {
		if o.Buckets, err = number(v, 1, maxBuckets); err == nil && bits.OnesCount(uint(o.Buckets)) != 1 {
			err = fmt.Errorf("it is a power of two")
		}
		return err
	}},
	{"inflight", func(o *Options, v string) error {
		n, err := number(strings.TrimSuffix(v, "MiB"), minInFlight>>20, 1024)
		if err != nil || !strings.HasSuffix(v, "MiB") {
			return fmt.Errorf("it is a number of mebibytes such as 8MiB, from 1MiB to 1024MiB")
		}
		o.InFlight = int64(n) << 20
		return nil
	}},
	{"user", func(o *Options, v string) error { return text(&o.User, v) }},
	{"password-file", func(o *Options, v string) error { return text(&o.PasswordFile, v) }},
	{"ca", func(o *Options, v string) error { return text(&o.CA, v) }},
	{"cert", func(o *Options, v string) error { return text(&o.Cert, v) }},
	{"key", func(o *Options, v string) error { return text(&o.Key, v) }},
}

func (o *Options) set(k, v string) error {
	for _, p := range options {
		if p.key == k {
			if err := p.set(o, v); err != nil {
				return fmt.Errorf("%s=%s: %w", k, v, err)
			}
			return nil
		}
	}
	keys := make([]string, 0, len(options))
	for _, p := range options {
		keys = append(keys, p.key)
	}
	slices.Sort(keys)
	return fmt.Errorf("there is no option %q; there are %s", k, strings.Join(keys, ", "))
}

func number(v string, least, most int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("it is a number from %d to %d", least, most)
	}
	return n, nil
}

func text(p *string, v string) error {
	if v == "" {
		return fmt.Errorf("it is empty")
	}
	*p = v
	return nil
}

// config is the driver's configuration.
func (o *Options) config(keyspace string) (*gocql.ClusterConfig, error) {
	c := gocql.NewCluster(o.Hosts...)
	c.Keyspace = keyspace
	c.Timeout, c.ConnectTimeout, c.WriteTimeout = o.Timeout, o.Timeout, o.Timeout
	c.RetryPolicy = nil // requests are repeated here, for longer than a ring has hosts
	c.DefaultIdempotence = true
	c.ReconnectInterval = time.Second
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 100 * time.Millisecond}
	c.MaxWaitSchemaAgreement = max(o.Timeout, 30*time.Second)
	c.Metadata.CacheMode = gocql.KeyspaceOnly
	var local gocql.HostSelectionPolicy = gocql.RoundRobinHostPolicy()
	if o.DC != "" {
		local = gocql.DCAwareRoundRobinPolicy(o.DC)
	}
	c.PoolConfig.HostSelectionPolicy = newShy(gocql.TokenAwareHostPolicy(local))
	if o.User != "" {
		b, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("cassandra: password-file: %w", err)
		}
		c.Authenticator = gocql.PasswordAuthenticator{Username: o.User, Password: strings.TrimRight(string(b), "\r\n")}
	}
	if o.CA != "" {
		c.SslOpts = &gocql.SslOptions{CaPath: o.CA, CertPath: o.Cert, KeyPath: o.Key, EnableHostVerification: true}
	}
	return c, nil
}
