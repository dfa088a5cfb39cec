package ntpac

import (
	"context"
	"encoding/json"
	"iter"
	"net/netip"
)

// Source yields captured frames in the order of their capture, a batch at a time. It sets of each
// packet TS, Off, Ord, Pos, Cap, Wire, Link and Blk. Used by one goroutine.
type Source interface {
	// Next fills an empty batch with at most cap(b.Packets) packets. io.EOF ends the source; an error
	// that wraps ErrDamaged ends it too, after everything readable was given.
	Next(ctx context.Context, b *Batch) error
	// Info says what the source is; complete after the end.
	Info() SourceInfo
	Close() error
}

// SourceInfo describes a source and what was lost in reading it.
type SourceInfo struct {
	ID       SourceID     `json:"id"`
	Name     string       `json:"name"` // as the user named it
	Path     string       `json:"path"` // absolute; empty for standard input
	Format   string       `json:"format"`
	Size     int64        `json:"size"`   // of the file as it lies on the disk; -1 where unknown
	SHA256   Hash         `json:"sha256"` // of the file as it lies on the disk
	Seekable bool         `json:"seekable"`
	Packets  uint64       `json:"packets"`
	First    Time         `json:"first"`
	Last     Time         `json:"last"`
	Done     bool         `json:"done"`
	Skipped  int64        `json:"skipped_bytes,omitempty"`   // passed over to find the next record
	Damage   []Damage     `json:"damage,omitempty"`          // the first thousand places
	Damaged  int          `json:"damaged_places,omitempty"`  // all of them
	Dropped  uint64       `json:"dropped_packets,omitempty"` // lost by who captured, by the source's own word
	Restarts []RestartPos `json:"restarts,omitempty"`
}

// Damage is one place where a source was corrupt or cut short.
type Damage struct {
	Off    int64  `json:"offset"` // in the decompressed source
	Len    int64  `json:"length"`
	Reason string `json:"reason"`
}

// RestartPos is a place from which a source can be read again.
type RestartPos struct {
	Ord  uint64 `json:"ord"`
	Raw  int64  `json:"raw"`    // offset in the file
	Off  int64  `json:"offset"` // offset in the decompressed stream
	High Time   `json:"high"`   // the highest timestamp before it
}

// Head is what a snooper may look at to recognise its protocol: the first bytes of each direction
// (of a datagram conversation: its first datagram). A probe must not keep the slices.
type Head struct {
	Proto Proto
	Port  [2]uint16 // by Dir: the client's and the server's port, as far as known
	Data  [2][]byte // by Dir
	Known [2]bool   // by Dir: Data starts where the stream starts
}

// HeadSize is how many bytes of each direction a Head has at most.
const HeadSize = 4096

// Confidence is a probe's answer.
type Confidence uint8

// The four answers, and the order in which the runner prefers them.
const (
	NotMine   Confidence = iota
	ProbeFail            // looks like mine, but damaged
	Unsure               // could be mine: taken only when nobody is certain and the port agrees
	Certain
)

// Verdict is what a probe says of a Head.
type Verdict struct {
	Confidence Confidence
	Swapped    bool // the direction called up is what the server sent
	Later      bool // it begins behind the opening of another protocol: whoever is certain of that comes first
}

// SnooperInfo describes a snooper; the lists of commands and documents are made from it.
type SnooperInfo struct {
	Name    string   // the app it reads: http, dns ...
	Version int      // raised when its findings change
	Protos  []Proto  // the transports it runs over
	Ports   []uint16 // well-known ports: a hint only
	Types   []string // the artifact types it makes
	Holes   string   // what it does with holes, in one sentence
}

// Snooper reads one application protocol. It is passive, expects holes, and keeps no state between
// conversations; it is used by several goroutines at once.
type Snooper interface {
	Info() SnooperInfo
	// Probe recognises the protocol by its first bytes, without allocating.
	Probe(h *Head) Verdict
	// Snoop reads the whole conversation and emits what it finds, in the order of its finding. An
	// error means that it stopped early: what was emitted stands.
	Snoop(ctx context.Context, d *Dialog, emit Emitter) error
}

// ExpectedSnooper also reads conversations that another one announced.
type ExpectedSnooper interface {
	Snooper
	SnoopExpected(ctx context.Context, d *Dialog, e *Expectation, emit Emitter) error
}

// Emitter takes what a snooper finds.
type Emitter interface {
	Emit(a *Artifact)
	Expect(e Expectation)
}

// Streams of a conversation, as chunk keys name them: the two sides and the history.
const (
	StreamA       = uint8(A)
	StreamB       = uint8(B)
	StreamHistory = uint8(2)
)

// ChunkKey names a stored chunk: positions [N*ChunkSize, (N+1)*ChunkSize) of a stream.
type ChunkKey struct {
	ID     ConversationID
	Stream uint8
	N      int64
}

// Chunk is a stored chunk: the captured bytes of its range, holes left out, packed by store.Pack.
type Chunk struct {
	Key    ChunkKey
	Packed []byte
	RawLen int
}

// Commit is what one write makes durable, all of it or nothing. Writing it again changes nothing.
type Commit struct {
	Case          string
	Stamp         uint64 // epoch<<32 | checkpoint version: of two rows with one id the higher stamp stays
	Chunks        []Chunk
	Conversations []*Conversation
	Generations   []*Generation
	Sources       []SourceInfo
	Checkpoints   []Checkpoint
	Evidence      []Evidence
}

// Checkpoint is the durable state of one virtual shard. A store refuses one whose (Epoch, Version)
// is not above what it has, with ErrFenced.
type Checkpoint struct {
	Shard     uint16
	Epoch     uint32
	Version   uint32
	Positions []Position
	State     []byte
}

// Position is how far a source's packets are durable.
type Position struct {
	Source SourceID
	Ord    uint64 // packets below are in the store
	High   Time
}

// Evidence is one entry of the case's log: what was ingested, selected, viewed or exported. A store
// adds Seq, Prev and Hash; an entry whose Key is already in the log is not added again.
type Evidence struct {
	Seq  uint64          `json:"seq"`
	Key  Hash            `json:"key"`  // hash of what makes the entry the same entry
	At   Time            `json:"at"`   // wall clock
	Kind string          `json:"kind"` // ingest, snoop, select, export, verify, drop
	Body json.RawMessage `json:"body"`
	Prev Hash            `json:"prev"`
	Hash Hash            `json:"hash"` // over everything above
}

// Query is the part of a rule that a store can answer from its indexes. Empty fields do not limit.
// A store may give more than was asked, never less: the rest of the rule is checked on each row.
type Query struct {
	Case     string
	IDs      []ConversationID
	From, To Time           // the start time lies in [From, To]; To 0 is no limit
	Addrs    []netip.Prefix // one of the end points lies in one of these
	Apps     []string       // the application is one of these
	Types    []string       // artifacts only: the type is one of these
	After    ConversationID // only ids above: resumes a listing
}

// Store keeps what was found. Listings are ordered by conversation id. It is used by many goroutines.
type Store interface {
	Commit(ctx context.Context, c *Commit) error
	Conversation(ctx context.Context, cs string, id ConversationID) (*Conversation, error)
	Conversations(ctx context.Context, q *Query) iter.Seq2[*Conversation, error]
	// Chunk appends the unpacked bytes of a chunk to buf; a chunk that does not exist is empty.
	Chunk(ctx context.Context, cs string, k ChunkKey, buf []byte) ([]byte, error)
	// Artifacts lists those of visible generations, in the order of their finding.
	Artifacts(ctx context.Context, q *Query) iter.Seq2[*Artifact, error]
	// Generations lists the visible generations of a conversation, without their artifacts.
	Generations(ctx context.Context, cs string, id ConversationID) ([]*Generation, error)
	Blob(ctx context.Context, cs string, h Hash) (*Blob, error)
	// Expected lists expectations that might match the conversation.
	Expected(ctx context.Context, c *Conversation) ([]Expectation, error)
	// Announced lists stored conversations that the expectation matches.
	Announced(ctx context.Context, e *Expectation) ([]*Conversation, error)
	Sources(ctx context.Context, cs string) ([]SourceInfo, error)
	Checkpoints(ctx context.Context, cs string) ([]Checkpoint, error)
	Log(ctx context.Context, cs string) iter.Seq2[*Evidence, error]
	Cases(ctx context.Context) ([]string, error)
	Drop(ctx context.Context, cs string) error
	Close() error
}

// Selector is a compiled rule of the selection language.
type Selector interface {
	Query() Query                 // the part that a store can answer
	Match(c *Conversation) bool   // the whole rule, on a conversation
	MatchArtifact(a *Record) bool // the whole rule, on an artifact and its conversation
	String() string               // canonical text
}

// Record is an artifact beside the conversation in which it was found.
type Record struct {
	Artifact     *Artifact
	Conversation *Conversation
}
