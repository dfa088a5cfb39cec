package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// corpus collects inputs by target. Of those that are alike, by what the caller calls their kind, it keeps
// a few; of more than are wanted, those with the lowest hashes, which is a fair sample and always the same.
type corpus struct {
	inputs map[string]map[string]input // by target and content
	kinds  map[string]int              // by target and kind
}

type input struct {
	hash [sha256.Size]byte
	text string
}

func newCorpus() *corpus {
	return &corpus{map[string]map[string]input{}, map[string]int{}}
}

// alike is how many inputs of one kind are kept.
const alike = 4

// longest is the longest input. The fuzzer changes whole inputs: of a long one it finds little.
const longest = 24 << 10

// add notes an input of a target, named by its package's folder and its function: the arguments that it
// gets, in their order.
func (c *corpus) add(target, kind string, args ...any) {
	b := strings.Builder{}
	b.WriteString("go test fuzz v1\n")
	size := 0
	for _, a := range args {
		switch v := a.(type) {
		case []byte:
			size += len(v)
			fmt.Fprintf(&b, "[]byte(%q)\n", v)
		case string:
			size += len(v)
			fmt.Fprintf(&b, "string(%q)\n", v)
		case byte:
			fmt.Fprintf(&b, "byte(%q)\n", rune(v))
		default:
			fmt.Fprintf(&b, "%T(%v)\n", v, v)
		}
	}
	if size == 0 || size > longest {
		return
	}
	text := b.String()
	if _, ok := c.inputs[target][text]; ok {
		return
	}
	k := target + "\x00" + kind
	if kind != "" && c.kinds[k] >= alike {
		return
	}
	c.kinds[k]++
	if c.inputs[target] == nil {
		c.inputs[target] = map[string]input{}
	}
	c.inputs[target][text] = input{sha256.Sum256([]byte(text)), text}
}

// prefix begins the names of the files that are ours.
const prefix = "seed-"

// write puts the inputs into a folder for each target, below dir, and takes away those of an earlier run.
func (c *corpus) write(dir string, most int) (n, targets int, err error) {
	for target, inputs := range c.inputs {
		pkg, name := filepath.Split(target)
		folder := filepath.Join(dir, "ntpac", pkg, name)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return n, targets, err
		}
		var all []input
		for _, in := range inputs {
			all = append(all, in)
		}
		slices.SortFunc(all, func(a, b input) int { return cmp.Compare(string(a.hash[:]), string(b.hash[:])) })
		all = all[:min(len(all), most)]
		wanted := map[string]bool{}
		for _, in := range all {
			f := filepath.Join(folder, fmt.Sprintf("%s%x", prefix, in.hash[:8]))
			if err := os.WriteFile(f, []byte(in.text), 0o666); err != nil {
				return n, targets, err
			}
			wanted[f] = true
			n++
		}
		old, err := filepath.Glob(filepath.Join(folder, prefix+"*"))
		if err != nil {
			return n, targets, err
		}
		for _, f := range old {
			if !wanted[f] {
				if err := os.Remove(f); err != nil {
					return n, targets, err
				}
			}
		}
		targets++
	}
	return n, targets, nil
}
