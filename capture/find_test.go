package capture

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ntpac"
)

// tree makes a folder of files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	pcap := string(shapeNamed(t, "pcap-le-us").build(somePackets(3)).b)
	ng := string(shapeNamed(t, "pcapng-be-us").build(somePackets(3)).b)
	dir := tree(t, map[string]string{
		"b.txt": pcap, "a/z": ng, "a/.hidden": pcap, "a/x.gz": string(gzipped([]byte(ng))), "c.pcap": "not one",
		"tar.gz": string(gzipped([]byte("hello"))), "empty.pcap": "", "bad.gz": "\x1f\x8b\x08\x00", "cut": pcap[:11],
	})
	at := func(names ...string) []string {
		for i, n := range names {
			names[i] = filepath.Join(dir, n)
		}
		return names
	}
	want := at("a/.hidden", "a/x.gz", "a/z", "b.txt", "cut")
	if os.Symlink(dir, filepath.Join(dir, "a", "loop")) == nil { // where links can be made
		os.Symlink("self", filepath.Join(dir, "self"))
		os.Symlink("nowhere", filepath.Join(dir, "dangling"))
	}
	got, err := Find([]string{dir})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %q", err, got)
	}
	got, err = Find([]string{"-", at("b.txt")[0], dir, dir, "-"})
	if want := append([]string{"-"}, at("b.txt", "a/.hidden", "a/x.gz", "a/z", "cut")...); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %q", err, got)
	}
	for _, name := range got[1:] {
		f, err := Open(context.Background(), name, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		f.Close()
	}
}

func TestClearErrors(t *testing.T) {
	dir := tree(t, map[string]string{
		"text": "Dear investigator, this is a letter.\n", "empty": "", "none/readme": "nothing", "two": "\xd4\x02",
		"gz": string(gzipped([]byte("hello"))), "badgz": "\x1f\x8b\x08\x00", "bin": "\x7fELF and so on",
		"deep": string(gzipped(gzipped(gzipped(shapeNamed(t, "snoop").build(somePackets(1)).b)))),
	})
	for _, c := range []struct {
		name, says string
		is         error
	}{
		{"missing", "no such file", fs.ErrNotExist},
		{"text", "looks like text", ntpac.ErrNotCapture},
		{"empty", "is empty", ntpac.ErrNotCapture},
		{"two", "begins with d4 02", ntpac.ErrNotCapture},
		{"gz", "what is inside is no capture", ntpac.ErrNotCapture},
		{"badgz", "gzip header is damaged", ntpac.ErrNotCapture},
		{"bin", "begins with 7f 45 4c 46", ntpac.ErrNotCapture},
		{"deep", "more than 2 times", ntpac.ErrNotCapture},
	} {
		path := filepath.Join(dir, c.name)
		_, errOpen := Open(context.Background(), path, Options{})
		_, errFind := Find([]string{path})
		_, errAt := OpenAt(path)
		for _, err := range []error{errOpen, errFind, errAt} {
			if err == nil || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	if _, err := Open(context.Background(), dir, Options{}); !errors.Is(err, ntpac.ErrUsage) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Find([]string{filepath.Join(dir, "none")}); !errors.Is(err, ntpac.ErrNotCapture) || !strings.Contains(err.Error(), "no file in this folder") {
		t.Errorf("a folder without captures: %v", err)
	}
	if _, err := Sum(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the sum of a missing file: %v", err)
	}
	if err := explain("x", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "may not be read") {
		t.Errorf("no permission: %v", err)
	}
}
