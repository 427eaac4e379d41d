// Package rapidtest keeps rapid from writing what failed into the source tree. A
// test package that uses rapid imports it for that effect; the seed that rapid
// prints draws the same case again.
package rapidtest

import (
	"flag"

	_ "pgregory.net/rapid" // registers the flag
)

var _ = flag.Set("rapid.nofailfile", "true")
