//go:build !unix

package embedded

import (
	"os"
)

// lockExclusive relies on the index's own lock where files cannot be locked portably.
func lockExclusive(*os.File) error { return nil }

// syncDir does nothing where directories cannot be synced: there their entries are durable by themselves.
func syncDir(string) error { return nil }

// diskSpace is not known.
func diskSpace(string) (free, total uint64, ok bool) { return 0, 0, false }
