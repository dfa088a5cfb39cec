package artifact

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"ntpac"
)

// IndexName is the file beside exported bodies that says what each of them is: one JSON object a line.
const IndexName = "index.jsonl"

// FilesReport says what Files did.
type FilesReport struct {
	Files  int   // written
	Bytes  int64 // in them
	Known  int   // found there already, from this export or an earlier one
	Failed int   // bodies that could not be made; the index says why
	First  error // the first reason
}

// indexEntry is one line of the index: one body of one artifact.
type indexEntry struct {
	Name         string               `json:"name"` // in the folder; empty where it could not be written
	SHA256       ntpac.Hash           `json:"sha256"`
	Size         int64                `json:"size"`
	MIME         string               `json:"mime,omitempty"`
	Original     string               `json:"filename,omitempty"` // as it was sent
	Field        string               `json:"field"`              // where the artifact names the body
	Artifact     ntpac.ArtifactID     `json:"artifact"`
	Type         string               `json:"type"`
	Conversation ntpac.ConversationID `json:"conversation"`
	Case         string               `json:"case"`
	Time         string               `json:"time"`
	Quality      ntpac.Quality        `json:"quality"`
	Error        string               `json:"error,omitempty"`
}

// Files writes into dir every body that the selected artifacts name: files, mail messages and their
// attachments, bodies of requests and responses. A body that several artifacts name is written once.
// Its name is the one it had, made safe; where another content has that name already, SHA256-NAME.
// No file is ever overwritten, and each appears whole or not at all. A body that cannot be made is
// counted and does not stop the rest.
func (x *Export) Files(ctx context.Context, sel ntpac.Selector, dir string) (*FilesReport, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	index, err := newPartial(root, IndexName)
	if err != nil {
		return nil, err
	}
	defer index.abandon()
	f := &folder{x: x, root: root, names: map[ntpac.Hash]string{}, taken: map[string]bool{strings.ToLower(IndexName): true}}
	lines := bufio.NewWriter(index.file)
	enc := json.NewEncoder(lines)
	enc.SetEscapeHTML(false)
	for r, err := range x.Records(ctx, sel) {
		if err != nil {
			return &f.report, err
		}
		for _, b := range Bodies(r.Artifact) {
			e := f.body(ctx, r.Artifact, b)
			if e == nil {
				continue
			}
			if err := enc.Encode(e); err != nil {
				return &f.report, err
			}
			if err := ctx.Err(); err != nil {
				return &f.report, err
			}
			if isFull(f.report.First) {
				return &f.report, f.report.First
			}
		}
	}
	if err := lines.Flush(); err != nil {
		return &f.report, err
	}
	return &f.report, index.keep()
}

// folder is where bodies are written.
type folder struct {
	x      *Export
	root   *os.Root
	report FilesReport
	names  map[ntpac.Hash]string // written, or found there
	taken  map[string]bool       // names in lower case: some file systems do not tell cases apart
}

// writeError marks a failure of the folder, which the next body would meet too.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

func isFull(err error) bool {
	var w writeError
	return errors.As(err, &w)
}

// body writes one body and gives its line of the index; nil where the hash names no stored body, as
// that of a certificate may.
func (f *folder) body(ctx context.Context, a *ntpac.Artifact, b NamedBody) *indexEntry {
	e := &indexEntry{SHA256: b.SHA256, MIME: b.MIME, Original: b.Filename, Field: b.Field, Artifact: a.ID, Type: a.Type,
		Conversation: a.Conversation, Case: a.Case, Time: a.Time.String(), Quality: a.Quality}
	blob, err := f.blob(ctx, a, b.SHA256)
	switch {
	case errors.Is(err, ntpac.ErrNotFound) && a.Type != "file":
		return nil
	case errors.Is(err, ntpac.ErrNotFound):
		err = fmt.Errorf("the store has no body %s: %w", b.SHA256, err)
	case err == nil:
		e.Size = blob.Size
		e.Name, err = f.write(ctx, blob, cmp.Or(SafeName(b.Filename), a.Type+"-"+b.SHA256.String()[:16]+extensionOf(b.MIME)))
	}
	if err != nil {
		f.report.Failed++
		f.report.First = cmp.Or(f.report.First, err)
		e.Error = err.Error()
	}
	return e
}

// blob finds the recipe of a body: the artifact may bring it along.
func (f *folder) blob(ctx context.Context, a *ntpac.Artifact, h ntpac.Hash) (*ntpac.Blob, error) {
	for i := range a.Blobs {
		if a.Blobs[i].SHA256 == h {
			return &a.Blobs[i], nil
		}
	}
	return f.x.Store.Blob(ctx, f.x.Case, h)
}

func (f *folder) write(ctx context.Context, blob *ntpac.Blob, name string) (string, error) {
	if known, ok := f.names[blob.SHA256]; ok {
		f.report.Known++
		return known, nil
	}
	name, there, err := f.free(blob, name)
	if err != nil {
		return "", err
	}
	if !there {
		if err := f.create(ctx, blob, name); err != nil {
			return "", err
		}
		f.report.Files++
		f.report.Bytes += blob.Size
	} else {
		f.report.Known++
	}
	f.names[blob.SHA256], f.taken[strings.ToLower(name)] = name, true
	return name, nil
}

// free picks the name: the wanted one, or the one with the hash. there says that the folder has this
// very content under it already.
func (f *folder) free(blob *ntpac.Blob, want string) (name string, there bool, err error) {
	for _, name := range []string{want, blob.SHA256.String() + "-" + want} {
		if f.taken[strings.ToLower(name)] {
			continue
		}
		info, err := f.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return name, false, nil
		case err != nil:
			return "", false, writeError{err}
		case info.Mode().IsRegular() && info.Size() == blob.Size && f.holds(name, blob.SHA256):
			return name, true, nil
		}
	}
	return "", false, fmt.Errorf("%s: both this name and the one with its hash are taken by other files", want)
}

func (f *folder) holds(name string, want ntpac.Hash) bool {
	file, err := f.root.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	return err == nil && ntpac.Hash(sum.Sum(nil)) == want
}

// create makes the body beside its name, checks it against its hash, and gives it the name.
func (f *folder) create(ctx context.Context, blob *ntpac.Blob, name string) error {
	src, err := OpenBlob(blob, f.x.open(ctx))
	if err != nil {
		return err
	}
	defer src.Close()
	p, err := newPartial(f.root, name)
	if err != nil {
		return err
	}
	defer p.abandon()
	sum := sha256.New()
	out := &sink{w: p.file}
	if _, err := io.Copy(io.MultiWriter(sum, out), src); out.err != nil {
		return writeError{out.err}
	} else if err != nil {
		return fmt.Errorf("body %s: %w", blob.SHA256, err)
	}
	if got := ntpac.Hash(sum.Sum(nil)); got != blob.SHA256 {
		return fmt.Errorf("body %s: its bytes have the hash %s", blob.SHA256, got)
	}
	return p.keep()
}

// sink remembers that it was the writing that failed.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (n int, err error) {
	n, err = s.w.Write(p)
	s.err = cmp.Or(s.err, err)
	return n, err
}

// partial is a file that is being written, under a name that nobody takes for a finished one.
type partial struct {
	root *os.Root
	file *os.File
	name string
	done bool
}

const partialName = ".partial-"

func newPartial(root *os.Root, name string) (*partial, error) {
	file, err := root.Create(partialName + name)
	if err != nil {
		return nil, writeError{err}
	}
	return &partial{root: root, file: file, name: name}, nil
}

func (p *partial) keep() error {
	if err := p.file.Close(); err != nil {
		return writeError{err}
	}
	if err := p.root.Rename(partialName+p.name, p.name); err != nil {
		return writeError{err}
	}
	p.done = true
	return nil
}

func (p *partial) abandon() {
	if !p.done {
		p.file.Close()
		p.root.Remove(partialName + p.name)
	}
}

// NamedBody is a body that an artifact names by its hash.
type NamedBody struct {
	SHA256   ntpac.Hash
	Field    string // where in the artifact, with dots; empty for the artifact itself
	Filename string // as sent, or taken from the address or the subject; may be empty
	MIME     string
}

// Bodies lists the bodies that an artifact names, the decoded one where it names both. Each object in
// its fields that has a hash is a body; what the object or the artifact calls filename, path,
// source_url, uri or subject names it.
func Bodies(a *ntpac.Artifact) []NamedBody {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(RawFields(a)))
	d.UseNumber()
	if d.Decode(&fields) != nil {
		return nil
	}
	outer := nameIn(fields, a.Type)
	var out []NamedBody
	var visit func(v any, field string)
	visit = func(v any, field string) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				visit(e, field)
			}
		case map[string]any:
			keys := slices.Sorted(func(yield func(string) bool) {
				for k := range v {
					if !yield(k) {
						return
					}
				}
			})
			for _, k := range keys {
				if h, ok := hashIn(v, k); ok {
					name, _ := v["filename"].(string)
					mimeType, _ := v["mime"].(string)
					if a.Type == "mail" && field == "" {
						mimeType = "message/rfc822"
					}
					if name == "" && (field == "" || a.Type == "http" && field == "response_body") {
						name = outer
					}
					out = append(out, NamedBody{SHA256: h, Field: field, Filename: name, MIME: mimeType})
				}
				visit(v[k], strings.TrimPrefix(field+"."+k, "."))
			}
		}
	}
	visit(fields, "")
	return out
}

// hashIn reads the member k as the hash of a body; not where a better member beside it is one.
func hashIn(v map[string]any, k string) (h ntpac.Hash, ok bool) {
	if k != "sha256" && !strings.HasSuffix(k, "_sha256") {
		return h, false
	}
	if decoded, _ := v["decoded_sha256"].(string); k == "sha256" && decoded != "" {
		return h, false
	}
	s, _ := v[k].(string)
	return h, len(s) == 64 && h.UnmarshalText([]byte(s)) == nil
}

// nameIn is what the artifact as a whole calls its body.
func nameIn(fields map[string]any, typ string) string {
	for _, k := range [...]string{"filename", "path", "source_url", "uri"} {
		s, _ := fields[k].(string)
		if u, err := url.Parse(s); err == nil && k != "filename" {
			s = u.Path
		}
		if SafeName(s) != "" {
			return s
		}
	}
	if s, _ := fields["subject"].(string); s != "" && typ == "mail" {
		// A subject is no path: its slashes must not cut it.
		return strings.NewReplacer("/", "_", `\`, "_").Replace(s) + ".eml"
	}
	return ""
}
