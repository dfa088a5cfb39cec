package reassembly

import (
	"runtime"
	"unsafe"
)

// arena gives slabs of flows. The first few come from the heap; a table that grows beyond them gets
// memory outside of it, in huge pages where the system has them: random access to a million flows is
// bound by the misses of the address translation. Flows have no pointers, so the collector of garbage
// has no business there.
type arena struct {
	made  int
	rest  []flow    // of the last mapping, not yet given
	pages *mappings // nil while there are none
	told  func(bytes int64)
}

// tell says how much memory was taken outside the heap, or with a minus given back.
func (a *arena) tell(bytes int) {
	if a.told != nil {
		a.told(int64(bytes))
	}
}

// mappings is memory to be given back: by release, or when the arena is not used any more.
type mappings struct{ maps [][]byte }

func (m *mappings) release() {
	for _, b := range m.maps {
		unmapMemory(b)
	}
	m.maps = nil
}

const (
	heapSlabs = 4
	mapSlabs  = 16 // slabs of one mapping: 20 MiB
)

// flows gives a slab of zeroed flows.
func (a *arena) flows() []flow {
	a.made++
	if a.made <= heapSlabs {
		return make([]flow, slabLen)
	}
	if len(a.rest) == 0 {
		m, ok := mapMemory(mapSlabs * slabLen * int(unsafe.Sizeof(flow{})))
		if !ok {
			return make([]flow, slabLen)
		}
		if a.pages == nil {
			a.pages = &mappings{}
			runtime.AddCleanup(a, (*mappings).release, a.pages)
		}
		a.pages.maps = append(a.pages.maps, m)
		a.tell(len(m))
		a.rest = unsafe.Slice((*flow)(unsafe.Pointer(unsafe.SliceData(m))), mapSlabs*slabLen)
	}
	s := a.rest[:slabLen:slabLen]
	a.rest = a.rest[slabLen:]
	return s
}

// release gives all mappings back. No flow of them may be used any more.
func (a *arena) release() {
	if a.pages != nil {
		for _, m := range a.pages.maps {
			a.tell(-len(m))
		}
		a.pages.release()
	}
	*a = arena{told: a.told}
}
