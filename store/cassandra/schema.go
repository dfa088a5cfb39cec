package cassandra

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// schemaVersion is the version of the tables that this build knows. Format: docs/format/cassandra.md.
const schemaVersion = 1

// The tables. c is the UUID of a case: it is in every partition key, so that what a dropped case left
// behind can never be taken for a new one's. Payload is compressed before it comes here.
const (
	plain      = ` WITH compression = {'enabled': 'false'}`
	compressed = ` WITH compression = {'class': 'LZ4Compressor', 'chunk_length_in_kb': 16}`
)

var tables = []string{
	`cases (k tinyint, name text, id uuid, buckets int, PRIMARY KEY (k, name))` + compressed,
	`hours (c uuid, hour int, PRIMARY KEY (c, hour))` + compressed,
	`minutes (c uuid, hour int, minute int, bucket smallint, apps set<text>, PRIMARY KEY ((c, hour), minute, bucket))` + compressed,
	`conversations (c uuid, minute int, bucket smallint, id blob, v blob, p blob, g blob, PRIMARY KEY ((c, minute, bucket), id))` + compressed,
	`owned (c uuid, minute int, bucket smallint, id blob, what tinyint, n bigint, PRIMARY KEY ((c, minute, bucket), id, what, n))` + compressed,
	`chunks (c uuid, id blob, stream tinyint, seg bigint, n smallint, v blob, PRIMARY KEY ((c, id, stream, seg), n))` + plain,
	`parts (c uuid, id blob, w bigint, n int, v blob, PRIMARY KEY ((c, id, w), n))` + plain,
	`ends (c uuid, hour int, bucket smallint, h smallint, minute int, f blob, v blob, PRIMARY KEY ((c, hour, bucket), h, minute, f))` + plain,
	`expected (c uuid, h smallint, k blob, id blob, gen blob, part int, n int, v blob, PRIMARY KEY ((c, h), k, id, gen, part, n))` + compressed,
	`blobs (c uuid, hour int, bucket smallint, sum blob, id blob, v blob, PRIMARY KEY ((c, hour, bucket), sum, id))` + compressed,
	`bodies (c uuid, sum blob, n int, v blob, PRIMARY KEY ((c, sum), n))` + plain,
	`sources (c uuid, id bigint, v blob, PRIMARY KEY (c, id))` + plain,
	`checkpoints (c uuid, g smallint, shard int, epoch bigint, version bigint, pieces int, v blob, PRIMARY KEY ((c, g), shard))` + plain,
	`checkpoint_pieces (c uuid, shard int, epoch bigint, version bigint, n int, v blob, PRIMARY KEY ((c, shard, epoch, version), n))` + plain,
	`log (c uuid, k blob, seq bigint static, head blob static, v blob, PRIMARY KEY (c, k))` + compressed,
}

// keyspaceInfo is what the store has to know of its keyspace and the ring.
type keyspaceInfo struct {
	nodes int
	rf    int // the highest of its data centres; 0: there is no keyspace
}

// connect opens a session with the keyspace, which is made where it is not there.
func connect(ctx context.Context, o *Options) (*gocql.Session, keyspaceInfo, error) {
	info, err := prepareKeyspace(ctx, o)
	if err != nil {
		return nil, info, err
	}
	for n := 0; ; n++ {
		c, err := o.config(o.Keyspace) // each session needs its own
		if err != nil {
			return nil, info, err
		}
		db, err := c.CreateSession()
		if err == nil {
			return db, info, nil
		}
		// A node on which the keyspace was made just now may not know it yet.
		if !errors.Is(err, gocql.ErrNoConnectionsStarted) || n >= o.Retries {
			return nil, info, explain(o, err)
		}
		if err := pause(ctx, firstPause<<min(n, 20), maxPause); err != nil {
			return nil, info, err
		}
	}
}

// prepareKeyspace looks at the ring and makes the keyspace.
func prepareKeyspace(ctx context.Context, o *Options) (info keyspaceInfo, err error) {
	c, err := o.config("")
	if err != nil {
		return info, err
	}
	c.NumConns = 1
	db, err := c.CreateSession()
	if err != nil {
		return info, explain(o, err)
	}
	defer db.Close()
	s := &Store{opt: *o, db: db, cons: gocql.One}
	var dc string
	if _, err := s.one(ctx, s.query(`SELECT data_center FROM system.local`), &dc); err != nil {
		return info, err
	}
	if o.DC != "" {
		dc = o.DC
	}
	var peers int
	if _, err := s.one(ctx, s.query(`SELECT count(*) FROM system.peers_v2`), &peers); err != nil {
		return info, err
	}
	info.nodes = peers + 1
	if info.rf, err = s.replicas(ctx); err != nil {
		return info, err
	}
	if info.rf > 0 {
		if o.RF > 0 && o.RF != info.rf {
			return info, fmt.Errorf("cassandra: keyspace %s is kept in %d copies, not in rf=%d: ALTER KEYSPACE changes that, and a repair must follow", o.Keyspace, info.rf, o.RF)
		}
		return info, nil
	}
	if o.Existing {
		return info, noStore(o)
	}
	if info.rf = o.RF; info.rf == 0 {
		info.rf = defaultRF
		if info.nodes == 1 {
			info.rf = 1
		}
	}
	err = s.exec(ctx, fmt.Sprintf(`CREATE KEYSPACE IF NOT EXISTS %s WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d}`, o.Keyspace, dc, info.rf))
	if err != nil {
		return info, err
	}
	if err := db.AwaitSchemaAgreement(ctx); err != nil {
		return info, explain(o, err)
	}
	// Another node may have made it in the same moment, with other options.
	if info.rf, err = s.replicas(ctx); err == nil && o.RF > 0 && info.rf != o.RF {
		err = fmt.Errorf("cassandra: keyspace %s was made by another node at the same time, with %d copies, not rf=%d", o.Keyspace, info.rf, o.RF)
	}
	return info, err
}

func noStore(o *Options) error {
	return fmt.Errorf("there is no store in keyspace %s at %s: ntpac run makes one, --store names another one", o.Keyspace, hostNames(o.Hosts))
}

// replicas reads the replication factor of the keyspace.
func (s *Store) replicas(ctx context.Context) (rf int, err error) {
	var repl map[string]string
	found, err := s.one(ctx, s.query(`SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?`, s.opt.Keyspace), &repl)
	if err != nil || !found {
		return 0, err
	}
	for k, v := range repl {
		n := 0
		if _, err := fmt.Sscanf(v, "%d", &n); err == nil && k != "class" {
			rf = max(rf, n)
		}
	}
	return max(rf, 1), nil
}

// tableID is the id under which a keyspace's first table is made: always the same, so that several nodes
// that make it at the same time make the same table and not two that hide one another.
func tableID(keyspace string) gocql.UUID {
	sum := sha256.Sum256([]byte("ntpac schema table of " + keyspace))
	var b [16]byte
	copy(b[:], sum[:])
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return gocql.UUID(b)
}

// lockTime is after how many seconds another node takes up the making of tables that one has begun.
const lockTime = 60

// migrate makes the tables where they are not there. The version's row is the lock: one node makes the
// tables, the others wait for it.
func (s *Store) migrate(ctx context.Context) error {
	me := gocql.MustRandomUUID()
	for n := 0; ; n++ {
		state, err := s.schemaState(ctx)
		switch {
		case err != nil:
			return err
		case state.version > schemaVersion:
			return fmt.Errorf("cassandra: keyspace %s has version %d of the tables, and this build knows only version %d: use a newer ntpac", s.opt.Keyspace, state.version, schemaVersion)
		case state.version == schemaVersion:
			return nil
		case s.opt.Existing:
			return noStore(&s.opt)
		case state.free:
			won, err := s.lockSchema(ctx, me)
			if err != nil {
				return err
			}
			if won {
				return s.makeTables(ctx, me)
			}
		}
		if n > 10*lockTime {
			return errors.New("cassandra: another node has been making the tables for minutes: is it alive?")
		}
		if err := pause(ctx, 100*time.Millisecond, time.Second); err != nil {
			return err
		}
	}
}

type schemaState struct {
	version int
	free    bool // nobody is making the tables
}

func (s *Store) schemaState(ctx context.Context) (st schemaState, err error) {
	err = s.try(ctx, func() error {
		var version *int
		var holder *gocql.UUID
		err := s.query(`SELECT version, holder FROM ntpac_schema WHERE k = 0`).Consistency(gocql.Consistency(s.serial)).ScanContext(ctx, &version, &holder)
		switch {
		case noTable(err) && s.opt.Existing:
			return nil
		case noTable(err):
			if err := s.makeFirstTable(ctx); err != nil {
				return err
			}
			st.free = true
			return nil
		case errors.Is(err, gocql.ErrNotFound):
			st.free = true
			return nil
		case err != nil:
			return err
		}
		if version != nil {
			st.version = *version
		}
		st.free = holder == nil
		return nil
	})
	return st, err
}

// noTable reports whether an error says that there is no such table.
func noTable(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "does not exist") || strings.Contains(err.Error(), "unconfigured table"))
}

func (s *Store) makeFirstTable(ctx context.Context) error {
	err := s.query(fmt.Sprintf(`CREATE TABLE IF NOT EXISTS ntpac_schema (k tinyint PRIMARY KEY, version int, holder uuid) WITH id = %s`, tableID(s.opt.Keyspace))).ExecContext(ctx)
	if err != nil {
		return err
	}
	return s.db.AwaitSchemaAgreement(ctx)
}

// lockSchema takes the lock, which falls back by itself.
func (s *Store) lockSchema(ctx context.Context, me gocql.UUID) (won bool, err error) {
	return s.applied(ctx, func() *gocql.Query {
		return s.db.Query(fmt.Sprintf(`UPDATE ntpac_schema USING TTL %d SET holder = ? WHERE k = 0 IF holder = null`, lockTime), me)
	}, func() (bool, error) {
		var holder *gocql.UUID
		_, err := s.one(ctx, s.query(`SELECT holder FROM ntpac_schema WHERE k = 0`).Consistency(gocql.Consistency(s.serial)), &holder)
		return holder != nil && *holder == me, err
	})
}

// makeTables makes what is missing and then says so.
func (s *Store) makeTables(ctx context.Context, me gocql.UUID) error {
	for _, t := range tables {
		err := s.try(ctx, func() error { return s.query("CREATE TABLE IF NOT EXISTS " + t).ExecContext(ctx) })
		if err != nil {
			return err
		}
	}
	if err := s.db.AwaitSchemaAgreement(ctx); err != nil {
		return s.explain(ctx, err)
	}
	done, err := s.applied(ctx, func() *gocql.Query {
		return s.db.Query(`UPDATE ntpac_schema SET version = ?, holder = null WHERE k = 0 IF holder = ?`, schemaVersion, me)
	}, func() (bool, error) {
		st, err := s.schemaState(ctx)
		return st.version == schemaVersion, err
	})
	if err == nil && !done {
		err = errors.New("cassandra: making the tables took too long, and another node has begun to make them: try again")
	}
	return err
}

// applied runs a conditional statement. Where its outcome is not known, or it was refused (perhaps by its
// own repetition), is asks whether it has taken effect.
func (s *Store) applied(ctx context.Context, q func() *gocql.Query, is func() (bool, error)) (ok bool, err error) {
	for n := 0; ; n++ {
		ok, err := q().Consistency(s.cons).SerialConsistency(s.serial).Idempotent(false).MapScanCASContext(ctx, map[string]any{})
		if ok && err == nil {
			return true, nil
		}
		if err != nil && (ctx.Err() != nil || !passing(err) || n >= s.opt.Retries) {
			return false, s.explain(ctx, err)
		}
		done, asked := is()
		if asked != nil || done || err == nil {
			return done, asked
		}
		if err := pause(ctx, firstPause<<min(n, 20), maxPause); err != nil {
			return false, err
		}
	}
}
