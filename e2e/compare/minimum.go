package compare

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Minimum is a flag: kind=percent, several separated by commas or given one by one.
type Minimum map[string]float64

// String shows the flag's value.
func (m Minimum) String() string {
	var s []string
	for k, v := range m {
		s = append(s, fmt.Sprintf("%s=%g", k, v))
	}
	sort.Strings(s)
	return strings.Join(s, ",")
}

// Set reads a value of the flag.
func (m *Minimum) Set(s string) error {
	if *m == nil {
		*m = Minimum{}
	}
	for _, part := range strings.Split(s, ",") {
		k, v, ok := strings.Cut(part, "=")
		p, err := strconv.ParseFloat(v, 64)
		if !ok || err != nil || p < 0 || p > 100 {
			return fmt.Errorf("want kind=percent, not %q", part)
		}
		(*m)[k] = p
	}
	return nil
}

// Below lists the kinds that fall short, one line each. A kind that was never expected falls short:
// a threshold on nothing proves nothing.
func (m Minimum) Below(t *Tally) (lines []string) {
	for k, p := range m {
		c := t.Count(k)
		switch {
		case c.Total() == 0:
			lines = append(lines, fmt.Sprintf("%s: none was expected, so %g %% cannot be shown", k, p))
		case c.Percent() < p:
			lines = append(lines, fmt.Sprintf("%s: %.3f %% is below %g %%", k, c.Percent(), p))
		}
	}
	sort.Strings(lines)
	return lines
}
