package cassandra

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"ntpac"
)

func TestParseURL(t *testing.T) {
	o, err := ParseURL("cassandra://host1,host2:9142,[2001:db8::1],[::1]:9043/ntpac_1?rf=3&consistency=local_quorum&timeout=2s&retries=0&dc=brno&buckets=4" +
		"&inflight=16MiB&user=u&password-file=/p&ca=/ca&cert=/c&key=/k")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"host1:9042", "host2:9142", "[2001:db8::1]:9042", "[::1]:9043"}; !slices.Equal(o.Hosts, want) {
		t.Errorf("hosts %v, want %v", o.Hosts, want)
	}
	if o.Keyspace != "ntpac_1" || o.RF != 3 || *o.Consistency != gocql.LocalQuorum || o.Timeout != 2*time.Second || o.Retries != 0 || o.DC != "brno" ||
		o.Buckets != 4 || o.InFlight != 16<<20 || o.User != "u" || o.PasswordFile != "/p" || o.CA != "/ca" || o.Cert != "/c" || o.Key != "/k" {
		t.Errorf("%+v", o)
	}
	if o, err = ParseURL("cassandra://h/k"); err != nil || o.RF != 0 || o.Consistency != nil || o.Timeout != defaultTimeout || o.Retries != defaultRetries || o.InFlight != defaultInFlight {
		t.Errorf("defaults: %+v, %v", o, err)
	}
}

// TestBadURL: what makes no sense is one line of usage, and never shows a password.
func TestBadURL(t *testing.T) {
	for _, c := range []struct{ uri, says string }{
		{"cassandra:///k", "no host"}, {"cassandra://h,/k", "no host"}, {"cassandra://h", "KEYSPACE"}, {"cassandra://h/", "KEYSPACE"},
		{"cassandra://h/Upper", "KEYSPACE"}, {"cassandra://h/a/b", "KEYSPACE"}, {"cassandra://h/k;drop", "KEYSPACE"}, {"cassandra://h:0/k", "port"},
		{"cassandra://h:port/k", "port"}, {"cassandra://h:99999/k", "port"}, {"cassandra://user:hunter2@h/k", "password-file"},
		{"cassandra://h/k?bogus=1", `no option "bogus"; there are buckets, ca`}, {"cassandra://h/k?rf=0", "1 to 9"}, {"cassandra://h/k?rf=three", "1 to 9"},
		{"cassandra://h/k?rf=3&rf=3", "twice"}, {"cassandra://h/k?consistency=any", "quorum"}, {"cassandra://h/k?timeout=5", "10s"},
		{"cassandra://h/k?timeout=1ms", "100ms"}, {"cassandra://h/k?retries=-1", "0 to 100"}, {"cassandra://h/k?buckets=3", "power of two"},
		{"cassandra://h/k?buckets=512", "1 to 256"}, {"cassandra://h/k?inflight=8", "8MiB"}, {"cassandra://h/k?inflight=0MiB", "1MiB"}, {"cassandra://h/k?dc=a'b", "data centre"},
		{"cassandra://h/k?user=u", "password-file"}, {"cassandra://h/k?cert=c", "cert and key"}, {"cassandra://h/k?cert=c&key=k", "with ca"}, {"cassandra://h/k?dc=", "data centre"},
		{"scylla://h/k", "cassandra://"},
	} {
		_, err := ParseURL(c.uri)
		if !errors.Is(err, ntpac.ErrUsage) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want usage that says %q", c.uri, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in %v", err)
		}
	}
}

// TestNobodyThere: a ring that does not run is one line that says so.
func TestNobodyThere(t *testing.T) {
	o, err := ParseURL("cassandra://127.0.0.1:1/k?timeout=1s")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), o)
	if err == nil || !strings.HasPrefix(err.Error(), "cassandra: no host answers at 127.0.0.1:1, is it running?") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

// TestExplain: what the driver says becomes what a user can act upon.
func TestExplain(t *testing.T) {
	o := &Options{Hosts: []string{"a:9042", "b:9142"}, Timeout: time.Second, Retries: 6}
	for _, c := range []struct {
		err     error
		says    string
		passing bool
	}{
		{gocql.ErrTimeoutNoResponse, "no answer within 1s from the ring at a, b:9142, after 6 repetitions", true},
		{gocql.ErrNoConnections, "no host answers at a, b:9142", true},
		{&gocql.RequestErrUnavailable{Alive: 1, Required: 2, Consistency: gocql.Quorum}, "1 of the 2 that consistency QUORUM needs", true},
		{&gocql.RequestErrWriteTimeout{}, "did not answer in time", true},
		{&gocql.RequestErrCASWriteUnknown{}, "did not answer in time", true},
		{&gocql.RequestErrUnauthorized{}, "refuses this user", false},
		{&gocql.RequestErrInvalid{}, "cassandra:", false},
		{gocql.ErrNotFound, "", false},
	} {
		if got := explain(o, c.err).Error(); !strings.Contains(got, c.says) {
			t.Errorf("%T: %s", c.err, got)
		}
		if passing(c.err) != c.passing {
			t.Errorf("%T: passing is %v", c.err, !c.passing)
		}
	}
}
