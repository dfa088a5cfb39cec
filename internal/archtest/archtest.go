// Package archtest has no code of its own: its tests hold the source tree against the import rules of
// the design and the list of dependencies.
package archtest
