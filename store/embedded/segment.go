package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"ntpac/store/row"
)

// A segment file is a header and records. Format: docs/format/segment.md.
const (
	segmentMagic   = "NTPACSEG"
	segmentVersion = 1
	recordHead     = 16
	maxStored      = 1 << 30
)

// What a record holds.
const (
	recChunk  = 'c' // a chunk of a stream; key: conversation, stream, number
	recInline = 'i' // the streams of a small conversation; key: conversation
	recPart   = 'p' // a part of a generation; key: conversation, generation, part
	recBody   = 'b' // a body that no recipe gives; key: SHA-256
)

// place is where a record lies, and what is in it.
type place struct {
	seg         uint32
	off         int64 // of the record's head
	stored, raw uint32
	crc         uint32 // CRC-32C of the raw bytes
}

func (p place) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(p.seg))
	b = binary.AppendUvarint(b, uint64(p.off))
	b = binary.AppendUvarint(b, uint64(p.stored))
	b = binary.AppendUvarint(b, uint64(p.raw))
	return binary.BigEndian.AppendUint32(b, p.crc)
}

// parsePlace reads what append writes and gives the rest.
func parsePlace(b []byte) (p place, rest []byte, err error) {
	var v [4]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(b); n <= 0 {
			return p, nil, row.ErrRow
		}
		b = b[n:]
	}
	if len(b) < 4 || v[0] > 1<<32-1 || v[1] > 1<<62 || v[2] > maxStored || v[3] > row.MaxRaw {
		return p, nil, row.ErrRow
	}
	return place{uint32(v[0]), int64(v[1]), uint32(v[2]), uint32(v[3]), binary.BigEndian.Uint32(b)}, b[4:], nil
}

// appendHeader writes a segment file's header: magic, version, length of the case's name, the name,
// CRC-32C of all that.
func appendHeader(b []byte, cs string) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint16(b, segmentVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(cs)))
	b = append(b, cs...)
	return binary.BigEndian.AppendUint32(b, row.CRC(b[start:]))
}

// appendRecordHead writes a record up to its bytes.
func appendRecordHead(b []byte, kind byte, key []byte, stored, raw int) []byte {
	start := len(b)
	b = append(b, 'N', 'R', kind, byte(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(stored))
	b = binary.BigEndian.AppendUint32(b, uint32(raw))
	b = binary.BigEndian.AppendUint32(b, row.MoreCRC(row.CRC(b[start:]), key))
	return append(b, key...)
}

// errRecord is what a record that is not the one looked for gives.
var errRecord = errors.New("damaged segment record")

// parseRecord checks a record and gives its packed bytes.
func parseRecord(b []byte, kind byte, key []byte) ([]byte, error) {
	if len(b) < recordHead || b[0] != 'N' || b[1] != 'R' || b[2] != kind || int(b[3]) != len(key) {
		return nil, errRecord
	}
	stored := binary.BigEndian.Uint32(b[4:])
	if len(b) < recordHead+len(key) || string(b[recordHead:recordHead+len(key)]) != string(key) {
		return nil, errRecord
	}
	if row.MoreCRC(row.CRC(b[:12]), key) != binary.BigEndian.Uint32(b[12:]) {
		return nil, errRecord
	}
	if body := b[recordHead+len(key):]; uint64(stored) <= uint64(len(body)) {
		return body[:stored], nil
	}
	return nil, errRecord
}

// series is the segment files of one case. Appending is for the one who holds the store's commit lock;
// reading is for everybody.
type series struct {
	dir, name string
	opt       *Options
	cur       *os.File
	no        uint32 // of cur; without cur, the highest number there
	off       int64  // where the next record goes
	begun     int64  // where the commit under way began in cur
	dirty     bool   // cur has bytes that are not durable
	buf       []byte
	bufAt     int64 // where buf goes in cur

	mu     sync.Mutex
	open   map[uint32]*reader
	tick   uint64
	closed bool
}

const (
	writeBuffer = 1 << 20
	directWrite = 128 << 10 // records from this length on are not copied together
	maxReaders  = 64
)

// openSeries finds the files of a case. The next record goes to a new one: what an earlier process
// left behind the last commit is not looked at.
func openSeries(dir, name string, opt *Options) (*series, error) {
	s := &series{dir: dir, name: name, opt: opt, open: map[uint32]*reader{}}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".seg"); ok {
			if v, err := strconv.ParseUint(n, 10, 32); err == nil {
				s.no = max(s.no, uint32(v))
			}
		}
	}
	return s, nil
}

func (s *series) path(no uint32) string { return filepath.Join(s.dir, fmt.Sprintf("%06d.seg", no)) }

// begin starts a commit.
func (s *series) begin() { s.begun = s.off }

// create begins a new file.
func (s *series) create() error {
	if _, err := os.Stat(s.dir); err != nil {
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return err
		}
		if err := syncDir(filepath.Dir(s.dir)); err != nil {
			return err
		}
	}
	s.no++
	f, err := os.OpenFile(s.path(s.no), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		f.Close()
		return err
	}
	s.cur, s.begun, s.bufAt = f, 0, 0
	s.buf = appendHeader(s.buf[:0], s.name)
	s.off = int64(len(s.buf))
	return nil
}

// add appends a record of packed bytes.
func (s *series) add(kind byte, key, packed []byte) (place, error) {
	p, err := row.ParsePacked(packed)
	if err != nil {
		return place{}, err
	}
	if len(packed) > maxStored {
		return place{}, errors.New("too big for a segment record")
	}
	if s.cur != nil && s.off >= s.opt.SegmentSize {
		if err := s.roll(); err != nil {
			return place{}, err
		}
	}
	if s.cur == nil {
		if err := s.create(); err != nil {
			return place{}, err
		}
	}
	at := place{s.no, s.off, uint32(len(packed)), uint32(p.RawLen), p.CRC}
	if len(s.buf)+len(packed) > writeBuffer {
		if err := s.flush(); err != nil {
			return at, err
		}
	}
	s.buf = appendRecordHead(s.buf, kind, key, len(packed), p.RawLen)
	if len(packed) >= directWrite {
		if err := s.flush(); err != nil {
			return at, err
		}
		if err := s.write(packed); err != nil {
			return at, err
		}
	} else {
		s.buf = append(s.buf, packed...)
	}
	s.off = at.off + int64(recordHead+len(key)+len(packed))
	s.dirty = true
	return at, nil
}

func (s *series) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	err := s.write(s.buf)
	s.buf = s.buf[:0]
	return err
}

func (s *series) write(b []byte) error {
	if s.opt.written != nil {
		if err := s.opt.written(len(b)); err != nil {
			return err
		}
	}
	_, err := s.cur.WriteAt(b, s.bufAt)
	s.bufAt += int64(len(b))
	return err
}

// sync makes all records durable.
func (s *series) sync() error {
	if !s.dirty {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	if err := syncData(s.cur); err != nil {
		return err
	}
	s.dirty = false
	return nil
}

// roll ends the current file.
func (s *series) roll() error {
	if err := s.sync(); err != nil {
		return err
	}
	err := s.cur.Close()
	s.cur = nil
	return err
}

// abandon takes back a commit that failed. The file is given up: after a failed write or sync nobody
// can say what is in it. What was durable before stays readable.
func (s *series) abandon() {
	if s.cur == nil {
		return
	}
	if s.off > s.begun {
		_ = s.cur.Truncate(s.begun)
		if s.begun == 0 {
			_ = os.Remove(s.path(s.no))
		}
		_ = s.cur.Close()
		s.cur = nil
	}
	s.buf, s.dirty = s.buf[:0], false
}

// reader is an open file that is being read.
type reader struct {
	f    *os.File
	refs int
	used uint64
	gone bool // close it with the last reference
}

var errDropped = errors.New("the case was dropped")

// acquire opens a file for reading, or finds it open.
func (s *series) acquire(no uint32) (*reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errDropped
	}
	s.tick++
	if r := s.open[no]; r != nil {
		r.refs++
		r.used = s.tick
		return r, nil
	}
	f, err := os.Open(s.path(no))
	if err != nil {
		return nil, err
	}
	if len(s.open) >= maxReaders {
		s.evict()
	}
	r := &reader{f: f, refs: 1, used: s.tick}
	s.open[no] = r
	return r, nil
}

// evict closes the file that was not used for the longest time.
func (s *series) evict() {
	oldest := uint32(0)
	var found *reader
	for no, r := range s.open {
		if r.refs == 0 && (found == nil || r.used < found.used) {
			oldest, found = no, r
		}
	}
	if found != nil {
		_ = found.f.Close()
		delete(s.open, oldest)
	}
}

func (s *series) release(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.refs--; r.refs == 0 && r.gone {
		_ = r.f.Close()
	}
}

// read gives the packed bytes of a record, in a buffer that grows as needed.
func (s *series) read(p place, kind byte, key []byte, buf *[]byte) ([]byte, error) {
	r, err := s.acquire(p.seg)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	n := recordHead + len(key) + int(p.stored)
	if cap(*buf) < n {
		// The length comes from the index: a damaged one must not ask for more than the file has.
		if st, err := r.f.Stat(); err != nil || st.Size() < p.off+int64(n) {
			return nil, fmt.Errorf("%w: %s ends before", errRecord, filepath.Base(s.path(p.seg)))
		}
		*buf = make([]byte, n+n/4)
	}
	b := (*buf)[:n]
	if _, err := r.f.ReadAt(b, p.off); err != nil {
		return nil, fmt.Errorf("%w: %s at %d: %w", errRecord, filepath.Base(s.path(p.seg)), p.off, err)
	}
	packed, err := parseRecord(b, kind, key)
	if err != nil || len(packed) != int(p.stored) {
		return nil, fmt.Errorf("%w: %s at %d", errRecord, filepath.Base(s.path(p.seg)), p.off)
	}
	return packed, nil
}

// close closes all files; later readers are told that the case was dropped.
func (s *series) close() (err error) {
	if s.cur != nil {
		err = s.cur.Close()
		s.cur = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for no, r := range s.open {
		if r.refs == 0 {
			_ = r.f.Close()
		}
		r.gone = true
		delete(s.open, no)
	}
	return err
}
