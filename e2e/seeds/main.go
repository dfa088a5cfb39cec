// Seeds makes inputs for the module's fuzz targets out of real captures:
//
//	go run ./e2e/seeds ../shared/captures
//
// It writes them where go test -fuzz looks for what it found before, in Go's cache, so that nothing of the
// captures comes into the repository. A run replaces what the last one made. Every target gets a few hundred
// inputs of a size that it can read thousands of times a second: whole captures for the formats, frames for
// the decoder, the packets of conversations for reassembly, and what was said in them for the snoopers.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"ntpac/capture"
)

func main() {
	most := flag.Int("max", 200, "inputs of one target at most")
	out := flag.String("out", "", "folder to write to; default: Go's cache of fuzzing inputs")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: seeds [-max N] [-out FOLDER] CAPTURES...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Args(), *out, *most); err != nil {
		fmt.Fprintln(os.Stderr, "seeds:", err)
		os.Exit(1)
	}
}

func run(paths []string, out string, most int) error {
	if out == "" {
		b, err := exec.Command("go", "env", "GOCACHE").Output()
		if err != nil {
			return fmt.Errorf("go env GOCACHE: %w", err)
		}
		out = filepath.Join(strings.TrimSpace(string(b)), "fuzz")
	}
	files, err := capture.Find(paths)
	if err != nil {
		return err
	}
	c := newCorpus()
	for _, f := range files {
		if err := fromCapture(context.Background(), c, f); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	n, targets, err := c.write(out, most)
	if err == nil {
		fmt.Printf("%d seeds for %d fuzz targets, of %d captures\n", n, targets, len(files))
	}
	return err
}
