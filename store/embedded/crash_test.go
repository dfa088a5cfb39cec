package embedded

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"ntpac"
	"ntpac/store/row"
)

// crashDir names the store that a child process writes to until it is killed.
const crashDir = "NTPAC_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := writeForever(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func crashID(n int) (id ntpac.ConversationID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1e18)
	return id
}

// crashText is the payload of commit n: some in one piece, some of several chunks, some incompressible.
func crashText(n int) string {
	s := fmt.Sprintf("commit %d ", n)
	if n%4 == 3 {
		b := make([]byte, directWrite+5000)
		x := uint64(n)
		for i := range b {
			x = x*6364136223846793005 + 1442695040888963407
			b[i] = byte(x >> 56)
		}
		return s + string(b)
	}
	return strings.Repeat(s, 1+n%5*2000)
}

// crashCommit is everything that commit n writes: two conversations, a chunk, artifacts, an entry.
func crashCommit(n int) *ntpac.Commit {
	c := &ntpac.Commit{Case: "crash", Stamp: uint64(n)}
	text := []byte(crashText(n))
	for k := range 2 {
		v := &ntpac.Conversation{ID: crashID(2*n + k), Case: "crash", First: crashID(2*n + k).Start(), SplitBy: strconv.Itoa(n)}
		v.Inline = &ntpac.Inline{History: text[:min(len(text), 5000)]}
		c.Conversations = append(c.Conversations, v)
		c.Chunks = append(c.Chunks, ntpac.Chunk{Key: ntpac.ChunkKey{ID: v.ID}, Packed: row.Pack(nil, text), RawLen: len(text)})
		c.Generations = append(c.Generations, &ntpac.Generation{Conversation: v.ID, Snooper: "x", Done: true, App: "x",
			Artifacts: []*ntpac.Artifact{{Type: "t", JSON: []byte(`"` + strings.Repeat("j", n%1000) + `"`)}}})
	}
	// A row that every commit writes again.
	c.Conversations = append(c.Conversations, &ntpac.Conversation{ID: crashID(-1), Case: "crash", SplitBy: strconv.Itoa(n)})
	c.Chunks = append(c.Chunks, ntpac.Chunk{Key: ntpac.ChunkKey{ID: crashID(-1)}, Packed: row.Pack(nil, text), RawLen: len(text)})
	c.Evidence = []ntpac.Evidence{{At: ntpac.Time(n), Kind: "ingest", Body: text[:8]}}
	c.Checkpoints = []ntpac.Checkpoint{{Epoch: 1, Version: uint32(n) + 1, State: text}}
	return c
}

// writeForever is the child: it commits, and says so, until it is killed.
func writeForever(dir string) error {
	s, err := Open(dir, Options{SegmentSize: 1 << 20})
	if err != nil {
		return err
	}
	n := 0
	switch k, err := s.Checkpoints(context.Background(), "crash"); {
	case err != nil:
		return err
	case len(k) > 0:
		n = int(k[0].Version)
	}
	for ; ; n++ {
		if err := s.Commit(context.Background(), crashCommit(n)); err != nil {
			return err
		}
		fmt.Println("ack", n)
	}
}

// TestKill kills a writing process several times, and looks each time whether all that it acknowledged
// is there and nothing is torn.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := -1
	for _, acks := range []int{1, 30, 7, 55, 18} {
		acked = runAndKill(t, dir, acks, acked)
		s := open(t, dir, Options{})
		checkCrashed(t, s, acked)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill gives the last commit that the child acknowledged before it was killed.
func runAndKill(t *testing.T, dir string, acks, acked int) int {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for k := 0; lines.Scan(); k++ {
		n, ok := strings.CutPrefix(lines.Text(), "ack ")
		v, err := strconv.Atoi(n)
		if !ok || err != nil {
			t.Errorf("the child says %q", lines.Text())
			break
		}
		if acked = v; k == acks {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v", err)
	}
	return acked
}

func checkCrashed(t *testing.T, s *Store, acked int) {
	t.Helper()
	ctx := context.Background()
	k, err := s.Checkpoints(ctx, "crash")
	if err != nil || len(k) != 1 {
		t.Fatalf("checkpoints: %v, %v", k, err)
	}
	last := int(k[0].Version) - 1
	if last < acked || string(k[0].State) != crashText(last) {
		t.Fatalf("the last commit is %d, acknowledged was %d", last, acked)
	}
	n := 0
	for c, err := range s.Conversations(ctx, &ntpac.Query{Case: "crash", Apps: []string{"x"}}) {
		if err != nil {
			t.Fatal(err)
		}
		text := crashText(n / 2)
		got, err := s.Chunk(ctx, "crash", ntpac.ChunkKey{ID: c.ID}, nil)
		if err != nil || c.ID != crashID(n) || string(got) != text || string(c.Inline.History) != text[:min(len(text), 5000)] {
			t.Fatalf("conversation %d of commit %d is not what was written: %v", n, n/2, err)
		}
		n++
	}
	arts := 0
	for a, err := range s.Artifacts(ctx, &ntpac.Query{Case: "crash"}) {
		if err != nil || len(a.JSON) != arts/2%1000+2 {
			t.Fatalf("artifact %d: %v", arts, err)
		}
		arts++
	}
	if n != 2*(last+1) || arts != n {
		t.Fatalf("%d conversations and %d artifacts of %d commits", n, arts, last+1)
	}
	c, err := s.Conversation(ctx, "crash", crashID(-1))
	if err != nil || c.SplitBy != strconv.Itoa(last) {
		t.Fatalf("the row of every commit: %v, %v", c, err)
	}
	wholeCase(t, s, "crash")
}

// wholeCase expects that Check finds nothing wrong.
func wholeCase(t *testing.T, s *Store, cs string) {
	t.Helper()
	n, err := s.Check(context.Background(), cs, func(p string) { t.Error(p) })
	if err != nil || n == 0 {
		t.Fatalf("checked %d: %v", n, err)
	}
}
