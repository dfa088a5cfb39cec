// Package meta holds the metamorphic suite: laws that relate what the pipeline makes of a capture to
// what it makes of the same capture after something was done to it. Frames are lost, doubled, moved,
// split over files, cut, shifted in time, readdressed; the law says what must stay equal.
//
// The tests run the whole pipeline in process. A history is a capture and a list of operations, both
// drawn from a seed; a law that fails is shrunk to the fewest frames and operations that still break it:
//
//	go test ./e2e/meta -run TestHistories -v -seed 7 -rounds 5000
package meta
