package selection

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ntpac"
)

// kind is what a field holds, and so what it can be compared with.
type kind uint8

const (
	text     kind = iota
	number        // a count
	duration      // nanoseconds
	instant       // nanoseconds since 1970
	address
	anything // a field of an artifact: whatever its JSON holds
)

// subject is what a rule is asked about: a conversation, or an artifact with its conversation.
type subject struct {
	c      *ntpac.Conversation
	a      *ntpac.Artifact
	fields any // the artifact's own, decoded when first asked for
	parsed bool
}

// field is one thing that rules can ask for. Exactly one of the getters is set. Those that give two
// values (both ports) hold where one of the two does; of single ones both are the same.
type field struct {
	name   string
	kind   kind
	of     Target   // Conversations or Artifacts
	values []string // the only texts it can hold, beside the empty one
	lower  bool     // its texts are in lower case
	digits int      // it is this many hexadecimal digits

	ints  func(s *subject) (int64, int64)
	addrs func(s *subject) (netip.Addr, netip.Addr)
	texts func(s *subject, match func(string) bool) bool
	path  []string // of anything: where it lies in the artifact's JSON
}

// here reports whether the subject has the part that the field is read from.
func (f *field) here(s *subject) bool {
	if f.of == Conversations {
		return s.c != nil
	}
	return s.a != nil
}

// conversationFields lists the fields of conversations by name; capture knows the sources' names.
func conversationFields(capture func(ntpac.SourceID) string) map[string]*field {
	out := make(map[string]*field, 80)
	add := func(f *field, more ...string) {
		f.of = Conversations
		out[f.name] = f
		for _, n := range more {
			out[n] = f
		}
	}
	count := func(name string, of func(h *ntpac.Half) int64) {
		add(&field{name: name, kind: number, ints: func(s *subject) (int64, int64) {
			return one(of(&s.c.Half[0]) + of(&s.c.Half[1]))
		}})
		for _, d := range [...]ntpac.Dir{ntpac.Up, ntpac.Down} {
			add(&field{name: name + "." + d.String(), kind: number, ints: func(s *subject) (int64, int64) {
				return one(of(s.c.In(d)))
			}}, name+"_"+d.String())
		}
	}
	count("packets", func(h *ntpac.Half) int64 { return int64(h.Packets) })
	count("duplicates", func(h *ntpac.Half) int64 { return int64(h.Duplicates) })
	count("bytes", func(h *ntpac.Half) int64 { return h.Bytes })
	count("missing", func(h *ntpac.Half) int64 { return h.Missing })
	count("gaps", func(h *ntpac.Half) int64 { return int64(len(h.Gaps)) })
	count("overlap", func(h *ntpac.Half) int64 { return h.Overlap })
	plain := func(name string, k kind, get func(c *ntpac.Conversation) int64) *field {
		f := &field{name: name, kind: k, ints: func(s *subject) (int64, int64) { return one(get(s.c)) }}
		add(f)
		return f
	}
	plain("revision", number, func(c *ntpac.Conversation) int64 { return int64(c.Revision) })
	plain("vlan", number, func(c *ntpac.Conversation) int64 { return int64(c.VLAN) })
	plain("tunnel_id", number, func(c *ntpac.Conversation) int64 { return int64(c.Key.TunnelID) })
	plain("duration", duration, func(c *ntpac.Conversation) int64 { return int64(c.Last - c.First) })
	plain("last", instant, func(c *ntpac.Conversation) int64 { return int64(c.Last) })
	out["time"] = plain("first", instant, func(c *ntpac.Conversation) int64 { return int64(c.First) })
	ends(add)
	words := func(name string, get func(c *ntpac.Conversation) string, values ...string) *field {
		f := &field{name: name, values: values, lower: values != nil, texts: func(s *subject, match func(string) bool) bool {
			return match(get(s.c))
		}}
		add(f)
		return f
	}
	id := words("id", func(c *ntpac.Conversation) string { return c.ID.String() })
	id.digits = 32
	words("case", func(c *ntpac.Conversation) string { return c.Case })
	words("proto", func(c *ntpac.Conversation) string { return c.Key.Proto.String() }).lower = true
	words("app", func(c *ntpac.Conversation) string { return c.App }).lower = true
	words("app_by", func(c *ntpac.Conversation) string { return c.AppBy.String() }, "content", "port", "expected")
	words("close", func(c *ntpac.Conversation) string { return c.Close.String() }, "fin", "rst", "idle", "end", "limit")
	words("client_by", func(c *ntpac.Conversation) string { return c.ClientBy.String() }, "syn", "payload", "port", "first")
	words("split_by", func(c *ntpac.Conversation) string { return c.SplitBy })
	words("tunnel", func(c *ntpac.Conversation) string { return c.Key.Tunnel.String() }, tunnels()...)
	add(&field{name: "flags", lower: true, values: ntpac.ConvFlags(^uint32(0)).Names(), texts: func(s *subject, match func(string) bool) bool {
		return s.c.Flags != 0 && slices.ContainsFunc(s.c.Flags.Names(), match)
	}})
	add(&field{name: "capture", texts: func(s *subject, match func(string) bool) bool {
		return slices.ContainsFunc(s.c.Sources, func(id ntpac.SourceID) bool { return match(capture(id)) })
	}})
	sums(add)
	return out
}

// tunnels lists the names of the tunnels that the vocabulary knows.
func tunnels() (out []string) {
	for t := ntpac.NoTunnel + 1; !strings.HasPrefix(t.String(), "tunnel-"); t++ {
		out = append(out, t.String())
	}
	return out
}

func one(n int64) (int64, int64) { return n, n }

// ends adds the addresses and ports, of both ends and by role.
func ends(add func(f *field, more ...string)) {
	add(&field{name: "ip", kind: address, addrs: func(s *subject) (netip.Addr, netip.Addr) {
		return s.c.Key.End[0].Addr(), s.c.Key.End[1].Addr()
	}})
	add(&field{name: "port", kind: number, ints: func(s *subject) (int64, int64) {
		return int64(s.c.Key.End[0].Port()), int64(s.c.Key.End[1].Port())
	}})
	role := func(name string, get func(c *ntpac.Conversation) netip.AddrPort) {
		add(&field{name: name + ".ip", kind: address, addrs: func(s *subject) (netip.Addr, netip.Addr) {
			a := get(s.c).Addr()
			return a, a
		}}, name+"_ip")
		add(&field{name: name + ".port", kind: number, ints: func(s *subject) (int64, int64) {
			return one(int64(get(s.c).Port()))
		}}, name+"_port")
	}
	role("src", (*ntpac.Conversation).ClientEnd)
	role("dst", (*ntpac.Conversation).ServerEnd)
}

// sums adds the payload hashes; a direction without bytes has none.
func sums(add func(f *field, more ...string)) {
	sum := func(h *ntpac.Half, match func(string) bool) bool {
		if h.Bytes == 0 {
			return match("")
		}
		return match(h.SHA256.String())
	}
	add(&field{name: "sha256", digits: 64, texts: func(s *subject, match func(string) bool) bool {
		return sum(&s.c.Half[0], match) || sum(&s.c.Half[1], match)
	}})
	for _, d := range [...]ntpac.Dir{ntpac.Up, ntpac.Down} {
		add(&field{name: "sha256." + d.String(), digits: 64, texts: func(s *subject, match func(string) bool) bool {
			return sum(s.c.In(d), match)
		}}, "sha256_"+d.String())
	}
}

// artifactFields lists what all artifacts have, whatever their type.
func artifactFields() map[string]*field {
	out := make(map[string]*field, 12)
	words := func(name string, get func(a *ntpac.Artifact) string) *field {
		f := &field{name: name, of: Artifacts, texts: func(s *subject, match func(string) bool) bool { return match(get(s.a)) }}
		out[name] = f
		return f
	}
	words("id", func(a *ntpac.Artifact) string { return a.ID.String() }).digits = 32
	words("type", func(a *ntpac.Artifact) string { return a.Type }).lower = true
	words("case", func(a *ntpac.Artifact) string { return a.Case })
	words("snooper", func(a *ntpac.Artifact) string { return a.Snooper }).lower = true
	words("error", func(a *ntpac.Artifact) string { return a.Error })
	q := words("quality", func(a *ntpac.Artifact) string { return a.Quality.String() })
	q.lower, q.values = true, []string{"complete", "gapped", "guessed"}
	ints := func(name string, k kind, get func(a *ntpac.Artifact) int64) {
		out[name] = &field{name: name, of: Artifacts, kind: k, ints: func(s *subject) (int64, int64) { return one(get(s.a)) }}
	}
	ints("time", instant, func(a *ntpac.Artifact) int64 { return int64(a.Time) })
	ints("snooper_version", number, func(a *ntpac.Artifact) int64 { return int64(a.Version) })
	return out
}

// ofConversation is the field that both listings read from the conversation: its id.
func conversationID() *field {
	return &field{name: "conversation", of: Conversations, digits: 32, texts: func(s *subject, match func(string) bool) bool {
		return match(s.c.ID.String())
	}}
}

// names resolves the names in one rule.
type names struct {
	conv, art map[string]*field
	extra     map[string][]string // fields of single types: name to types
	of        Target
}

func newNames(o *Options) *names {
	capture := o.CaptureName
	if capture == nil {
		capture = func(id ntpac.SourceID) string { return "" }
	}
	n := &names{conv: conversationFields(capture), art: artifactFields(), extra: o.ArtifactFields, of: o.Of}
	n.conv["conversation"] = conversationID()
	return n
}

// find gives the readings of a name in the order in which they are tried: what the artifact has, then
// what its conversation has. None where nobody knows the name.
func (n *names) find(name string) []*field {
	if own, ok := strings.CutPrefix(name, "conversation."); ok {
		if f := n.conv[own]; f != nil && own != "conversation" {
			explicit := *f
			explicit.name = "conversation." + f.name
			return []*field{&explicit}
		}
		return nil
	}
	var out []*field
	if n.of != Conversations {
		if f := n.art[name]; f != nil {
			out = append(out, f)
		} else if _, listed := n.extra[name]; listed || n.conv[name] == nil && n.below(name) {
			out = append(out, &field{name: name, kind: anything, of: Artifacts, path: strings.Split(name, ".")})
		}
	}
	if f := n.conv[name]; f != nil {
		out = append(out, f)
	}
	return out
}

// below reports whether the name may be a member of a known field. Below a field whose members nobody
// listed anything may lie.
func (n *names) below(name string) bool {
	head, _, nested := strings.Cut(name, ".")
	if _, ok := n.extra[head]; !ok || !nested || strings.HasSuffix(name, ".") {
		return false
	}
	for k := range n.extra {
		if strings.HasPrefix(k, head+".") {
			return false
		}
	}
	return true
}

// all lists every name, for suggestions.
func (n *names) all() []string {
	out := slices.Collect(maps.Keys(n.conv))
	if n.of != Conversations {
		out = append(out, slices.Collect(maps.Keys(n.art))...)
		out = append(out, slices.Collect(maps.Keys(n.extra))...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// types lists the known types of artifacts.
func (n *names) types() []string {
	var out []string
	for _, t := range n.extra {
		out = append(out, t...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
