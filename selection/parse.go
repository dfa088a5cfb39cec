package selection

// The tree of a rule.
type (
	// everything is the empty rule.
	everything struct{}
	// group holds where all (and) or any of at least two parts do.
	group struct {
		and   bool
		parts []node
	}
	// negation holds where its part does not.
	negation struct{ part node }
	// atom compares a field, or asks whether it is there.
	atom struct {
		name     string
		at       int
		op       operator
		opAt     int
		list     bool // the operands stand in brackets
		operands []operand
		readings []*reading // set by the check, in the order in which they are tried
	}
)

type node interface {
	write(b []byte, inGroup bool) []byte
}

// operator is how an atom compares.
type operator string

const (
	has        operator = "has"
	equal      operator = "=="
	unequal    operator = "!="
	less       operator = "<"
	atMost     operator = "<="
	more       operator = ">"
	atLeast    operator = ">="
	in         operator = "in"
	contains   operator = "contains"
	startsWith operator = "startswith"
	endsWith   operator = "endswith"
	matches    operator = "~"
)

var operators = [...]operator{equal, unequal, atMost, atLeast, less, more, in, contains, startsWith, endsWith, matches}

// The limits of a rule: beyond them it is refused, so that no rule can exhaust the stack or the memory.
const (
	maxRule  = 1 << 20 // bytes
	maxDepth = 200     // parentheses and negations within one another
)

type parser struct {
	rule  string
	toks  []token
	depth int
}

// parse reads a rule.
//
//	rule  = [ or ]
//	or    = and { ("||" | "or") and }
//	and   = unary { ("&&" | "and") unary }
//	unary = ("!" | "not") unary | "(" or ")" | "has" field | field [ "not" ] operator operand
func parse(rule string) (node, *Error) {
	if len(rule) > maxRule {
		return nil, errorAt("", 0, "the rule is longer than %d bytes", maxRule)
	}
	toks, err := lex(rule)
	if err != nil {
		return nil, err
	}
	p := &parser{rule: rule, toks: toks}
	if p.peek().kind == endToken {
		return everything{}, nil
	}
	n, err := p.group(false)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != endToken {
		if t.is(")") {
			return nil, p.fail(t, "this ) closes nothing")
		}
		return nil, p.fail(t, "expected && or || before this")
	}
	return n, nil
}

func (p *parser) peek() token { return p.toks[0] }

func (p *parser) next() token {
	t := p.toks[0]
	if t.kind != endToken {
		p.toks = p.toks[1:]
	}
	return t
}

// accept takes the next token if it is one of these.
func (p *parser) accept(any ...string) bool {
	for _, s := range any {
		if p.peek().is(s) {
			p.next()
			return true
		}
	}
	return false
}

func (p *parser) fail(t token, format string, a ...any) *Error {
	return errorAt(p.rule, t.at, format, a...)
}

// group reads parts joined by "and" or, one level up, by "or". Groups of one kind within one another
// become one.
func (p *parser) group(and bool) (node, *Error) {
	join := []string{"||", "or"}
	if and {
		join = []string{"&&", "and"}
	}
	g := group{and: and}
	for {
		var part node
		var err *Error
		if and {
			part, err = p.unary()
		} else {
			part, err = p.group(true)
		}
		if err != nil {
			return nil, err
		}
		if inner, ok := part.(group); ok && inner.and == and {
			g.parts = append(g.parts, inner.parts...)
		} else {
			g.parts = append(g.parts, part)
		}
		if !p.accept(join...) {
			break
		}
	}
	if len(g.parts) == 1 {
		return g.parts[0], nil
	}
	return g, nil
}

func (p *parser) unary() (node, *Error) {
	t := p.peek()
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail(t, "more than %d levels of parentheses", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("!", "not"):
		part, err := p.unary()
		if err != nil {
			return nil, err
		}
		if inner, ok := part.(negation); ok {
			return inner.part, nil
		}
		return negation{part}, nil
	case p.accept("("):
		n, err := p.group(false)
		if err != nil {
			return nil, err
		}
		if !p.accept(")") {
			return nil, p.fail(t, "this ( is never closed")
		}
		return n, nil
	case p.accept("has"):
		f := p.next()
		if f.kind != wordToken || isKeyword(f.text) {
			return nil, p.fail(f, "expected a field after has")
		}
		return &atom{name: f.text, at: f.at, op: has, opAt: t.at}, nil
	}
	return p.comparison()
}

func (p *parser) comparison() (node, *Error) {
	f := p.next()
	switch {
	case f.kind == endToken:
		return nil, p.fail(f, "the rule ends where a field should follow")
	case f.kind != wordToken || isKeyword(f.text):
		return nil, p.fail(f, "expected a field such as app or dst.ip")
	}
	a := &atom{name: f.text, at: f.at}
	negated := p.accept("not")
	op := p.next()
	for _, o := range operators {
		if op.is(string(o)) {
			a.op, a.opAt = o, op.at
		}
	}
	if a.op == "" {
		if op.kind == endToken || op.is("&&") || op.is("and") || op.is("||") || op.is("or") || op.is(")") {
			return nil, p.fail(op, "expected a comparison after %s; to ask whether it is there, write has %s", f.text, f.text)
		}
		return nil, p.fail(op, "expected one of == != < <= > >= in contains startswith endswith ~%s", misspelt(op.text))
	}
	var err *Error
	if a.op == in && p.peek().is("[") {
		a.list = true
		a.operands, err = p.list()
	} else {
		var l literal
		l, err = p.value()
		a.operands = []operand{{lo: l}}
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return negation{a}, nil
	}
	return a, nil
}

func misspelt(word string) string {
	var known []string
	for _, o := range operators {
		if len(o) > 2 {
			known = append(known, string(o))
		}
	}
	return didYouMean(word, known)
}

// list reads the values and ranges between brackets.
func (p *parser) list() ([]operand, *Error) {
	var out []operand
	open := p.next()
	for {
		var o operand
		var err *Error
		if p.accept("..") {
			o = operand{lo: literal{open: true}, isRange: true}
		} else if o.lo, err = p.value(); err != nil {
			return nil, err
		} else {
			o.isRange = p.accept("..")
		}
		if o.isRange {
			if t := p.peek(); t.is(",") || t.is("]") {
				o.hi.open = true
				if o.lo.open {
					return nil, p.fail(t, "a range needs at least one end")
				}
			} else if o.hi, err = p.value(); err != nil {
				return nil, err
			}
		}
		out = append(out, o)
		if p.accept("]") {
			return out, nil
		}
		if t := p.peek(); !p.accept(",") {
			if t.kind == endToken {
				return nil, p.fail(open, "this [ is never closed")
			}
			return nil, p.fail(t, "expected , or ] here")
		}
	}
}

func (p *parser) value() (literal, *Error) {
	t := p.next()
	switch {
	case t.kind == quotedToken:
		return literal{text: t.text, quoted: true, at: t.at}, nil
	case t.kind == wordToken && isKeyword(t.text):
		return literal{}, p.fail(t, "expected a value; the word %s needs quotes to be one", t.text)
	case t.kind == wordToken:
		return literal{text: t.text, at: t.at}, nil
	case t.kind == endToken:
		return literal{}, p.fail(t, "the rule ends where a value should follow")
	case t.is("["):
		return literal{}, p.fail(t, "a list goes with in")
	}
	return literal{}, p.fail(t, "expected a value instead of %s", t.text)
}

func (everything) write(b []byte, _ bool) []byte { return b }

func (g group) write(b []byte, inGroup bool) []byte {
	if inGroup {
		b = append(b, '(')
	}
	sep := " || "
	if g.and {
		sep = " && "
	}
	for i, p := range g.parts {
		if i > 0 {
			b = append(b, sep...)
		}
		b = p.write(b, true)
	}
	if inGroup {
		b = append(b, ')')
	}
	return b
}

func (n negation) write(b []byte, _ bool) []byte {
	if a, ok := n.part.(*atom); ok && a.op != has {
		return append(a.write(append(b, "!("...), false), ')')
	}
	return n.part.write(append(b, '!'), true)
}

// write gives the atom as its first reading understands it.
func (a *atom) write(b []byte, _ bool) []byte {
	name, show := a.name, func(l literal) string { return l.text }
	if len(a.readings) > 0 {
		name, show = a.shown()
	}
	if a.op == has {
		return append(append(b, "has "...), name...)
	}
	b = append(append(append(append(b, name...), ' '), a.op...), ' ')
	if a.list {
		b = append(b, '[')
	}
	for i, o := range a.operands {
		if i > 0 {
			b = append(b, ", "...)
		}
		if !o.lo.open {
			b = append(b, show(o.lo)...)
		}
		if o.isRange {
			b = append(b, ".."...)
			if !o.hi.open {
				b = append(b, show(o.hi)...)
			}
		}
	}
	if a.list {
		b = append(b, ']')
	}
	return b
}
