package embedded

import (
	"os"
	"syscall"
)

// syncData makes a file's bytes and length durable, but not its times.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
