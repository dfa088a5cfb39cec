package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ntpac"
	"ntpac/artifact"
	"ntpac/node"
	"ntpac/selection"
	"ntpac/store"
)

// place is where a command works: a store and a case in it.
type place struct {
	store, cs string
	sources   map[ntpac.SourceID]string // names of the case's sources, once the store is open
}

func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.store, "store", "./ntpac-store", "the store: a `DIR`, or cassandra://host1,host2/keyspace?option=value")
	cmd.Flags().StringVar(&p.cs, "case", "default", "the `NAME` of the case in the store")
}

// open opens a store that is there, and a case that is in it.
func (p *place) open(ctx context.Context) (ntpac.Store, error) {
	st, err := store.Open(ctx, p.store, store.Options{Existing: true})
	if err != nil {
		return nil, err
	}
	if err := p.enter(ctx, st); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

func (p *place) enter(ctx context.Context, st ntpac.Store) error {
	cases, err := st.Cases(ctx)
	switch {
	case err != nil:
		return err
	case len(cases) == 0:
		return fmt.Errorf("the store %s is empty: ntpac run fills it", p.store)
	case !slices.Contains(cases, p.cs):
		return fmt.Errorf("the store %s has no case %s; it has %s", p.store, p.cs, strings.Join(cases, ", "))
	}
	infos, err := st.Sources(ctx, p.cs)
	p.sources = make(map[ntpac.SourceID]string, len(infos))
	for _, s := range infos {
		p.sources[s.ID] = s.Name
	}
	return err
}

// compile reads a rule for one of the flags. Names of captures are looked up when the store is open.
func (p *place) compile(flag, rule string, of selection.Target) (*selection.Rule, error) {
	r, err := selection.Compile(rule, selection.Options{Of: of, ArtifactFields: ruleFields(),
		CaptureName: func(id ntpac.SourceID) string { return artifact.CaptureName(id, p.sources) }})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return r, nil
}

// ruleFields are the fields of artifacts that rules may name, and under type all types there are.
func ruleFields() map[string][]string {
	f := artifact.Fields()
	f["type"] = artifactTypes()
	return f
}

// artifactTypes lists the types of the contract and those that the snoopers make.
func artifactTypes() (out []string) {
	for _, types := range artifact.Fields() {
		out = append(out, types...)
	}
	for _, s := range engine.snoopers() {
		out = append(out, s.Info().Types...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// note adds to the evidence log of the case what was done with it.
func note(ctx context.Context, st ntpac.Store, cs, kind string, body any) error {
	return engine.log(ctx, st, node.Options{Case: cs}, kind, body)
}

// size is a flag that takes a number of bytes.
type size int64

var sizeShape = regexp.MustCompile(`(?i)^([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?$`)

func (s *size) Set(text string) error {
	m := sizeShape.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[3] != "" {
		return errors.New("a size is a number of bytes such as 512MB or 2GiB")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return err
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	if i := strings.Index("kmgt", strings.ToLower(m[2])); m[2] != "" {
		n *= math.Pow(base, float64(i+1))
	}
	if n > math.MaxInt64/2 || n != math.Trunc(n) {
		return errors.New("a size is a whole number of bytes")
	}
	*s = size(n)
	return nil
}

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *size) Type() string { return "SIZE" }

// choice is a flag that takes one of a few words.
type choice struct {
	value *string
	of    []string
}

func (c choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("it must be %s", strings.Join(c.words(), " or "))
	}
	*c.value = text
	return nil
}

func (c choice) String() string { return *c.value }

func (c choice) Type() string { return strings.Join(c.words(), "|") }

// words are what can be given; an empty default cannot.
func (c choice) words() []string {
	return slices.DeleteFunc(slices.Clone(c.of), func(s string) bool { return s == "" })
}

// choose adds a flag that takes one of a few words; the first is the default.
func choose(cmd *cobra.Command, value *string, name, usage string, of ...string) {
	if of[0] != "" {
		*value = of[0]
	}
	cmd.Flags().Var(choice{value, of}, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp))
}
