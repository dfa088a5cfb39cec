// Package capture reads capture files: pcap, pcapng and snoop, plain or within gzip or zstd, from
// files and from standard input. A File is an ntpac.Source that yields descriptors of frames lying in
// pooled blocks; it goes on after corrupt records and says what it passed over.
//
// The package also finds captures in folders, fetches single frames again, and writes captures.
package capture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"ntpac"
)

// Options say how a capture is read. The zero value will do.
type Options struct {
	Index     uint16    // the source's place in its merge group
	BlockSize int       // bytes read at a time; default DefaultBlockSize
	Stdin     io.Reader // what "-" reads; default os.Stdin
	In        io.Reader // read instead of opening the name: a pipe that is open already

	// Hash computes the SHA-256 of the file while reading, for SourceInfo. It costs the reading
	// goroutine more than everything else it does.
	Hash bool

	// Raw, if set, is called with every byte of the file as it lies on the disk, in order, each once:
	// it lets another goroutine hash the file while this one reads on. Where the file is not compressed
	// p lies in blk, and who retains blk may look at p until he releases it. For compressed files blk
	// is nil and p is only valid during the call. The first
	// calls come from within Open; all bytes were shown when Next has ended the source.
	Raw func(p []byte, blk *ntpac.Block)
}

// File reads one capture. It implements ntpac.Source.
type File struct {
	win      window
	stream   *stream
	raw      *raw
	closer   io.Closer
	format   format
	opt      Options
	info     ntpac.SourceInfo
	sum      hash.Hash
	eager    bool  // a pipe: give what is there rather than wait for a full batch
	need     int   // how many bytes the next record needs
	trusted  int64 // records up to this offset were looked at twice and found good
	nextMark int64 // from where on the next restart point is noted
	done     error // set when the source has ended
	sink     byte  // keeps the touches of walk from being dropped
}

// format walks the records of one kind of capture file.
type format interface {
	// begin reads what comes before the first record. False: the source is cut short in it.
	begin(f *File) bool
	// walk describes the records ahead in the batch, for as long as they lie whole in the window.
	walk(f *File, b *ntpac.Batch) state
	// mend deals with a record that walk called odd: it sees to it that walk takes it, or passes over it.
	mend(f *File, b *ntpac.Batch)
	// rest takes the record ahead if it is whole and all that has arrived from a pipe. walk would wait
	// for the next one to prove it.
	rest(f *File, b *ntpac.Batch)
	// tail deals with the bytes left at the end of the source.
	tail(f *File, b *ntpac.Batch)
}

// state is why walk stopped.
type state uint8

const (
	full  state = iota // the batch is
	short              // it needs f.need bytes to go on
	odd                // a record makes no sense
)

// Open opens the capture file called name; "-" is standard input. It wraps ntpac.ErrNotCapture when
// the file is no capture, and fs.ErrNotExist, fs.ErrPermission as the system does.
func Open(ctx context.Context, name string, opt Options) (*File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opt.BlockSize <= 0 {
		opt.BlockSize = DefaultBlockSize
	}
	opt.BlockSize = max(opt.BlockSize, minBlockSize)
	f := &File{opt: opt, trusted: -1, eager: true}
	f.info = ntpac.SourceInfo{Name: name, Size: -1}
	in, err := f.input(name)
	if err == nil {
		err = f.start(in)
	}
	if err != nil {
		f.Close()
		return nil, explain(name, err)
	}
	return f, nil
}

// input opens the file itself.
func (f *File) input(name string) (io.Reader, error) {
	if f.opt.In != nil {
		return f.opt.In, nil
	}
	if name == "-" {
		if f.opt.Stdin == nil {
			return os.Stdin, nil
		}
		return f.opt.Stdin, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	f.closer = file
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, ntpac.Usagef("it is a folder, not a capture file")
	}
	if f.info.Path, err = filepath.Abs(name); err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() {
		f.info.Size, f.eager = st.Size(), false
	}
	return file, nil
}

// How many of a source's first bytes make its id: of a pipe fewer, since they must be waited for.
const (
	idBytes     = 64 << 10
	idBytesPipe = 4 << 10
)

// start finds out what the input is and makes everything ready to walk it.
func (f *File) start(in io.Reader) error {
	head, err := f.head(in)
	if err != nil && len(head) == 0 {
		return err
	}
	f.info.ID = sourceID(f.info.Name, f.info.Size, head)
	if err != nil { // it will be met again, after what could be read
		in = failing{err}
	}
	f.raw = &raw{r: &prefixed{head: head, r: in}}
	kind := sniff(head)
	plain := kind != gzipFile && kind != zstdFile
	show := f.watcher()
	if show != nil && !plain {
		f.raw.tap = func(p []byte) { show(p, nil) }
	}
	if f.stream, err = unwrap(f.raw); err != nil {
		return err
	}
	f.info.Format = f.stream.kind.String()
	for _, l := range f.stream.layers {
		f.info.Format += "+" + l.String()
	}
	f.info.Seekable = plain && f.info.Size >= 0
	f.win = newWindow(f.stream.r, f.blockSize(plain), f.info.ID, f.opt.Index)
	if plain {
		f.win.tap = show
	}
	f.nextMark = markEvery
	f.format = newFormat(f.stream.kind)
	if !f.format.begin(f) {
		f.lose(f.win.left(), "cut short in the file's header")
		f.finish()
	}
	return nil
}

// blockSize spares a small file the big block.
func (f *File) blockSize(plain bool) int {
	if plain && f.info.Size >= 0 && f.info.Size < int64(f.opt.BlockSize) {
		return max(minBlockSize, (int(f.info.Size)+4096)&^4095)
	}
	return f.opt.BlockSize
}

// head reads the first bytes.
func (f *File) head(in io.Reader) ([]byte, error) {
	n := idBytes
	if f.eager {
		n = idBytesPipe
	}
	head := make([]byte, n)
	n, err := io.ReadFull(in, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], err
}

// watcher shows raw bytes to who wants to see them; nil when nobody does.
func (f *File) watcher() func([]byte, *ntpac.Block) {
	if !f.opt.Hash {
		return f.opt.Raw
	}
	f.sum = sha256.New()
	return func(p []byte, blk *ntpac.Block) {
		f.sum.Write(p)
		if f.opt.Raw != nil {
			f.opt.Raw(p, blk)
		}
	}
}

// Read is how many bytes of the file were read so far; any goroutine may ask.
func (f *File) Read() int64 { return f.raw.n.Load() }

// Info says what the source is; the counts are complete when Next has ended it.
func (f *File) Info() ntpac.SourceInfo { return f.info }

// Close gives up the file. Blocks still held elsewhere stay valid.
func (f *File) Close() error {
	f.win.drop()
	if f.done == nil {
		f.done = fs.ErrClosed
	}
	if f.stream != nil {
		f.stream.stop()
	}
	if f.closer == nil {
		return nil
	}
	c := f.closer
	f.closer = nil
	return c.Close()
}

// sourceID is the first 8 bytes of the SHA-256 of the source's name, size and first bytes.
func sourceID(name string, size int64, head []byte) ntpac.SourceID {
	var b bytes.Buffer
	b.WriteString(name)
	b.WriteByte(0)
	binary.Write(&b, binary.BigEndian, size)
	b.Write(head)
	sum := sha256.Sum256(b.Bytes())
	return ntpac.SourceID(binary.BigEndian.Uint64(sum[:]))
}

// failing is the rest of an input that cannot be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// explain makes of an error one line that says what to do.
func explain(name string, err error) error {
	if name == "-" {
		name = "standard input"
	}
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no such file; check its name (%w)", name, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: it may not be read by this user; change its permissions (%w)", name, fs.ErrPermission)
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", name, path.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Sum computes the SHA-256 of the file as it lies on the disk.
func Sum(path string) (ntpac.Hash, error) {
	var sum ntpac.Hash
	file, err := os.Open(path)
	if err != nil {
		return sum, explain(path, err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return sum, explain(path, err)
	}
	h.Sum(sum[:0])
	return sum, nil
}

// noTime is above every timestamp, for a search of the lowest.
const noTime = ntpac.Time(math.MaxInt64)
