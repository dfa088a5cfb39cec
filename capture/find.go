package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"ntpac"
)

// Find expands paths into the captures they name. Files are told by their content, never by their
// name. A folder stands for all captures in it and in the folders below, in the order of their paths; other
// files in it are passed over. What is named itself must be a capture. "-" stands for itself, and so
// do pipes, which cannot be looked into beforehand. A file that is reached twice is given once.
//
// A file or a folder's entry that may not be read is an error, since it could be a capture.
func Find(paths []string) ([]string, error) {
	s := search{seen: map[string]bool{}}
	for _, p := range paths {
		if err := s.named(p); err != nil {
			return nil, err
		}
	}
	return s.found, nil
}

type search struct {
	found []string
	seen  map[string]bool // real paths of files and folders
	hits  int             // captures come across in folders
}

func (s *search) named(path string) error {
	if path == "-" {
		if !s.again(path) {
			s.found = append(s.found, path)
		}
		return nil
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return explain(path, err)
	case st.IsDir():
		return s.folder(path)
	case !st.Mode().IsRegular():
		s.found = append(s.found, path)
		return nil
	}
	if err := probe(path); err != nil {
		return explain(path, err)
	}
	s.add(path)
	return nil
}

func (s *search) folder(path string) error {
	before, hits := len(s.found), s.hits
	seen := s.again(path)
	if !seen {
		if err := s.walk(path); err != nil {
			return err
		}
	}
	if s.hits == hits && !seen {
		return fmt.Errorf("%s: no file in this folder is a capture: %w", path, ntpac.ErrNotCapture)
	}
	slices.Sort(s.found[before:])
	return nil
}

// walk goes through a folder not seen before. It follows symbolic links.
func (s *search) walk(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return explain(path, err)
	}
	for _, e := range entries {
		p := filepath.Join(path, e.Name())
		st, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a link to nowhere, or just deleted
			continue
		case err != nil && e.Type()&fs.ModeSymlink != 0: // a link to itself
			continue
		case err != nil:
			return explain(p, err)
		case st.IsDir():
			if s.again(p) {
				continue
			}
			if err := s.walk(p); err != nil {
				return err
			}
		case st.Mode().IsRegular():
			switch err := probe(p); {
			case err == nil:
				s.hits++
				s.add(p)
			case !errors.Is(err, ntpac.ErrNotCapture):
				return explain(p, err)
			}
		}
	}
	return nil
}

func (s *search) add(path string) {
	if !s.again(path) {
		s.found = append(s.found, path)
	}
}

// again reports whether the path leads to something already seen.
func (s *search) again(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		real = path
	}
	was := s.seen[real]
	s.seen[real] = true
	return was
}

// probe looks whether a file is a capture.
func probe(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s, err := unwrap(file)
	if err != nil {
		return err
	}
	s.stop()
	return nil
}
