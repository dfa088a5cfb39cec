package node

import (
	"sync"

	"ntpac"
)

// turns lets only one snooper at a time read a conversation. An announcement that comes while it is
// being read makes it be read again; what that finds must be stored after what the first reading found.
type turns struct {
	mu sync.Mutex
	of map[ntpac.ConversationID]*turn
}

// turn is a conversation that waits to be read, or is being read.
type turn struct {
	waiting int // tasks whose reading has not begun
	busy    bool
	line    []*task // those of them that a snooper has taken, and that wait for the one being read
}

func newTurns() *turns { return &turns{of: map[ntpac.ConversationID]*turn{}} }

// enter notes that a task goes to the snoopers.
func (k *turns) enter(id ntpac.ConversationID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.of[id]
	if t == nil {
		t = &turn{}
		k.of[id] = t
	}
	t.waiting++
}

// waits reports whether the conversation will be read by somebody who has not begun yet: he will see
// what is stored now.
func (k *turns) waits(id ntpac.ConversationID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.of[id]
	return t != nil && t.waiting > 0
}

// begin gives the task back if nobody reads its conversation; else whoever does will take it.
func (k *turns) begin(t *task) *task {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.of[t.id]
	if u.busy {
		u.line = append(u.line, t)
		return nil
	}
	u.busy = true
	u.waiting--
	return t
}

// end gives the next task for the same conversation.
func (k *turns) end(t *task) *task {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.of[t.id]
	if len(u.line) > 0 {
		next := u.line[0]
		u.line = u.line[1:]
		u.waiting--
		return next
	}
	u.busy = false
	if u.waiting == 0 {
		delete(k.of, t.id)
	}
	return nil
}
