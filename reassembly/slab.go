package reassembly

// newSlab makes room for slabLen flows. Flows have no pointers, so the collector of garbage never
// looks inside.
func newSlab() []flow { return make([]flow, slabLen) }
