package snoop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"runtime/debug"
	"strings"

	"ntpac"
)

// Limits of one generation part and of one artifact.
const (
	PartArtifacts = 10_000   // artifacts, or expectations, in one part
	PartBytes     = 8 << 20  // encoded fields and blob data in one part
	MaxFields     = 16 << 20 // encoded fields of one artifact
)

// Options say how a conversation is to be snooped.
type Options struct {
	// Expected is what another conversation announced of this one: its App names the snooper.
	Expected *ntpac.Expectation
	// Part takes the parts of a generation that is too big for one, all but the last. An error stops
	// the snooper. Without it a generation has one part, however big.
	Part func(*ntpac.Generation) error
	// Artifacts is how many artifacts a part has at most; 0 means PartArtifacts.
	Artifacts int
	// Keys names the decryption keys in use: a hash, empty for none.
	Keys string
}

// Run identifies a conversation, runs its snooper and gives the last part of what it found; earlier
// parts went to Options.Part. It never panics for a snooper's sake: what a failing snooper had
// emitted stands, and the failure is the generation's Error. Where no SYN told the roles and the
// snooper recognised them, d is swapped. A caller that stores the generation first makes sure that
// neither ctx was cancelled nor d.Err() says that the payload could not be read.
func Run(ctx context.Context, reg *Registry, d *ntpac.Dialog, opts Options) *ntpac.Generation {
	r := reg.scratch.Get().(*run)
	defer r.release()
	return r.run(ctx, d, opts)
}

// run is the state of one Run, recycled.
type run struct {
	reg  *Registry
	head ntpac.Head
	buf  bytes.Buffer
	enc  *json.Encoder
	sum  hash.Hash

	d     *ntpac.Dialog
	opts  Options
	e     *entry
	gen   *ntpac.Generation
	bytes int
	arena []byte // encoded fields of the part: slices of it are the artifacts' JSON
	stop  context.CancelCauseFunc
	err   error // Part's refusal
}

func newRun(reg *Registry) *run {
	r := &run{reg: reg, sum: sha256.New()}
	r.enc = json.NewEncoder(&r.buf)
	r.enc.SetEscapeHTML(false)
	return r
}

func (r *run) release() {
	if r.buf.Cap() > 1<<20 {
		r.buf = bytes.Buffer{}
	}
	r.d, r.opts, r.e, r.gen, r.arena, r.stop, r.err = nil, Options{}, nil, nil, nil, nil, nil
	r.reg.scratch.Put(r)
}

func (r *run) run(ctx context.Context, d *ntpac.Dialog, opts Options) *ntpac.Generation {
	if opts.Artifacts <= 0 {
		opts.Artifacts = PartArtifacts
	}
	r.d, r.opts, r.bytes = d, opts, 0
	c := d.Conv
	i, by := r.choose()
	r.gen = &ntpac.Generation{Conversation: c.ID, Revision: c.Revision, Keys: opts.Keys, AppBy: by, Client: c.Client, ClientBy: c.ClientBy}
	if i < 0 {
		r.gen.Done = true
		return r.gen
	}
	r.e = &r.reg.list[i]
	r.gen.Snooper, r.gen.Version, r.gen.App = r.e.info.Name, r.e.info.Version, r.e.info.Name
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	err := r.snoop(ctx)
	if r.err != nil {
		err = r.err
	}
	if err = errors.Join(err, d.Err()); err != nil {
		r.gen.Error = err.Error()
	}
	r.gen.Done = true
	return r.gen
}

// choose finds the snooper and settles the roles.
func (r *run) choose() (i int, by ntpac.AppBy) {
	n := &r.reg.counters
	named := -1
	e := r.opts.Expected
	if e != nil {
		named = r.reg.find(e.App)
	}
	if named >= 0 && (e.To.Port() != 0 || !e.To.Addr().IsValid()) {
		n.expected.Add(1)
		r.expected(e)
		return named, ntpac.ByExpectation
	}
	HeadOf(r.d, &r.head)
	i, by, swapped := r.reg.identify(&r.head)
	if by == ntpac.NotIdentified && r.head.Proto == ntpac.TCP {
		i, by, swapped = r.resumed()
	}
	if named >= 0 && by != ntpac.ByContent { // one that names a host but no port cannot overrule the content
		n.expected.Add(1)
		r.expected(e)
		return named, ntpac.ByExpectation
	}
	switch by {
	case ntpac.ByContent:
		n.content.Add(1)
	case ntpac.ByPortHint:
		n.port.Add(1)
	default:
		n.none.Add(1)
		return -1, by
	}
	if c := r.d.Conv; swapped && (c.ClientBy != ntpac.BySyn || c.Key.Proto != ntpac.TCP) {
		r.d.Swap()
	}
	return i, by
}

// resumed finds the snooper behind the holes of a conversation whose beginning tells nothing. A port cannot tell
// what content does not, and a snooper that knows the beginning for something else's does not become certain
// behind a hole: a few bytes of anything look like something.
func (r *run) resumed() (i int, by ntpac.AppBy, swapped bool) {
	for k := 0; k < maxResumed && Resumed(r.d, k, &r.head); k++ {
		if i, by, swapped = r.reg.identify(&r.head); by != ntpac.ByContent {
			continue
		}
		if HeadOf(r.d, &r.head); r.reg.probe(i, &r.head).Confidence != ntpac.NotMine {
			return i, by, swapped
		}
	}
	return -1, ntpac.NotIdentified, false
}

// expected settles the roles of a connection that was announced: who is waited for at an end point has it
// opened from the other side.
func (r *run) expected(e *ntpac.Expectation) {
	c := r.d.Conv
	if c.ClientBy == ntpac.BySyn || c.Key.Proto != ntpac.TCP || !e.To.Addr().IsValid() {
		return
	}
	waits := func(end netip.AddrPort) bool {
		return end.Addr() == e.To.Addr() && (e.To.Port() == 0 || end.Port() == e.To.Port())
	}
	if waits(c.ClientEnd()) && !waits(c.ServerEnd()) {
		r.d.Swap()
	}
}

// snoop runs the snooper; its panic is an error.
func (r *run) snoop(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.reg.counters.panics.Add(1)
			r.e.panics.Add(1)
			err = fmt.Errorf("snooper %s failed: %v (%s)", r.e.info.Name, p, place(debug.Stack()))
		}
	}()
	if e, ok := r.e.snooper.(ntpac.ExpectedSnooper); ok && r.opts.Expected != nil && r.gen.AppBy == ntpac.ByExpectation {
		return e.SnoopExpected(ctx, r.d, r.opts.Expected, r)
	}
	return r.e.snooper.Snoop(ctx, r.d, r)
}

// place is where a stack trace says that a panic began: file and line without folders.
func place(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") && i+3 < len(lines) {
			at, _, _ := strings.Cut(strings.TrimSpace(lines[i+3]), " ")
			return at[strings.LastIndexByte(at, '/')+1:]
		}
	}
	return "unknown place"
}

// Emit completes an artifact and puts it into the current part.
func (r *run) Emit(a *ntpac.Artifact) {
	if r.err != nil {
		return
	}
	c := r.d.Conv
	a.Conversation, a.Case, a.Snooper, a.Version = c.ID, c.Case, r.e.info.Name, r.e.info.Version
	if a.Quality == ntpac.Complete && r.d.Quality(a.Spans...) != ntpac.Complete {
		a.Quality = ntpac.Gapped
		r.reg.counters.downgraded.Add(1)
	}
	if a.Time == 0 {
		a.Time = c.First
	}
	r.encode(a)
	for i := range a.Blobs {
		a.Blobs[i].Conversation = c.ID
		r.bytes += len(a.Blobs[i].Data)
	}
	r.bytes += len(a.JSON)
	a.ID = r.id(a)
	r.gen.Artifacts = append(r.gen.Artifacts, a)
	r.cut()
}

// Expect puts an expectation into the current part.
func (r *run) Expect(e ntpac.Expectation) {
	if r.err != nil {
		return
	}
	e.Case, e.Origin = r.d.Conv.Case, r.d.Conv.ID
	r.gen.Expectations = append(r.gen.Expectations, e)
	r.cut()
}

// cut gives away the current part once it is full.
func (r *run) cut() {
	g := r.gen
	full := len(g.Artifacts) >= r.opts.Artifacts || len(g.Expectations) >= r.opts.Artifacts || r.bytes >= PartBytes
	if !full || r.opts.Part == nil {
		return
	}
	next := *g
	next.Part++
	next.Artifacts, next.Expectations = nil, nil
	if r.err = r.opts.Part(g); r.err != nil {
		r.stop(r.err)
	}
	r.gen, r.bytes, r.arena = &next, 0, nil
}

// Memory for encoded fields is taken in pieces: small ones for the many conversations of a few
// artifacts, then bigger ones.
const (
	arenaFirst = 512
	arenaMost  = 32 << 10
)

// encode sets a.JSON. Bytes that are not UTF-8 become U+FFFD, as encoding/json has it; snoopers that
// must keep them escape them first.
func (r *run) encode(a *ntpac.Artifact) {
	a.JSON = json.RawMessage("{}")
	if a.Fields == nil {
		return
	}
	r.buf.Reset()
	if err := r.enc.Encode(a.Fields); err != nil {
		a.Error = joinText(a.Error, "fields not encodable: "+err.Error())
		return
	}
	b := bytes.TrimSuffix(r.buf.Bytes(), []byte{'\n'})
	if len(b) > MaxFields {
		r.reg.counters.oversized.Add(1)
		a.Error = joinText(a.Error, fmt.Sprintf("fields of %d bytes are over the limit of %d", len(b), MaxFields))
		return
	}
	if cap(r.arena)-len(r.arena) < len(b) {
		r.arena = make([]byte, 0, max(arenaFirst, min(4*cap(r.arena), arenaMost), len(b)))
	}
	at := len(r.arena)
	r.arena = append(r.arena, b...)
	a.JSON = r.arena[at:len(r.arena):len(r.arena)]
}

func joinText(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// id hashes type, conversation, spans and fields.
func (r *run) id(a *ntpac.Artifact) (id ntpac.ArtifactID) {
	b := append(r.buf.AvailableBuffer(), a.Type...)
	b = append(append(b, 0), a.Conversation[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(a.Spans)))
	for _, s := range a.Spans {
		b = append(b, byte(s.Dir))
		b = binary.BigEndian.AppendUint64(b, uint64(s.Off))
		b = binary.BigEndian.AppendUint64(b, uint64(s.Len))
	}
	r.sum.Reset()
	r.sum.Write(b)
	r.sum.Write(a.JSON)
	copy(id[:], r.sum.Sum(b[:0]))
	return id
}
