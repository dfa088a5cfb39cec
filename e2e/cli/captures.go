package cli

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Captures lists the captures of a folder whose path has a text, relative to it. What lies below expected/ and
// zeek-baseline/ is what others found in them.
func Captures(dir, only string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == "expected" || rel == "zeek-baseline" {
				return filepath.SkipDir
			}
			return nil
		}
		if isCapture(rel) && strings.Contains(rel, only) {
			files = append(files, rel)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no captures in %s", dir)
	}
	return files, err
}

func isCapture(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	switch filepath.Ext(name) {
	case ".pcap", ".pcapng", ".cap", ".dmp", ".snoop", ".trace":
		return true
	}
	return false
}
