//go:build linux || darwin

package embedded

import "syscall"

// diskSpace tells the bytes that are free for this user, and all, on the file system of a path.
func diskSpace(path string) (free, total uint64, ok bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(path, &st) != nil {
		return 0, 0, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), uint64(st.Blocks) * uint64(st.Bsize), true
}
