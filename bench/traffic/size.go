package traffic

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes that flags read: 1500, 64K, 256M, 1G (1024-fold steps).
type Size int64

// String shows the size in bytes.
func (s *Size) String() string { return strconv.FormatInt(int64(*s), 10) }

// Set reads a size.
func (s *Size) Set(v string) error {
	number, shift := strings.ToUpper(v), 0
	if i := strings.IndexAny(number, "KMG"); i >= 0 && i == len(number)-1 {
		shift = 10 * (1 + strings.IndexByte("KMG", number[i]))
		number = number[:i]
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)>>shift {
		return fmt.Errorf("a size is a number of bytes like 1500, 64K, 256M or 1G, not %q", v)
	}
	*s = Size(n << shift)
	return nil
}
