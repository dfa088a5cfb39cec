package reassembly

import "unsafe"

// arena gives slabs of flows. The first few come from the heap; a table that grows beyond them gets
// memory outside of it, in huge pages where the system has them: random access to a million flows is
// bound by the misses of the address translation. Flows have no pointers, so the collector of garbage
// has no business there.
type arena struct {
	made  int
	rest  []flow   // of the last mapping, not yet given
	pages [][]byte // mappings, to be given back
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
		a.pages = append(a.pages, m)
		a.rest = unsafe.Slice((*flow)(unsafe.Pointer(unsafe.SliceData(m))), mapSlabs*slabLen)
	}
	s := a.rest[:slabLen:slabLen]
	a.rest = a.rest[slabLen:]
	return s
}

// release gives all mappings back. No flow of them may be used any more.
func (a *arena) release() {
	for _, m := range a.pages {
		unmapMemory(m)
	}
	*a = arena{}
}
