package budget

import "fmt"

// The largest defaults; no call may ask for more either.
const (
	MaxDefaultTokens    = 10_000_000
	MaxDefaultToolCalls = 1_000
)

// Defaults are what a budget or a key gives calls that say nothing themselves. 0
// is none.
type Defaults struct {
	// DefaultMaxTokens is the output cap of a call that names none, in tokens:
	// 0..MaxDefaultTokens.
	DefaultMaxTokens int64
	// DefaultMaxToolCalls is how often tools that the provider runs may be used by a
	// call that does not limit them: 0..MaxDefaultToolCalls.
	DefaultMaxToolCalls int64
}

// Check refuses what is out of range, naming the field.
func (d Defaults) Check() error {
	if n := d.DefaultMaxTokens; n < 0 || n > MaxDefaultTokens {
		return Invalid("field_invalid", "default_max_tokens", fmt.Sprintf("default_max_tokens is %d; use a number of tokens from 1 to %d, or 0 for none", n, MaxDefaultTokens))
	}
	if n := d.DefaultMaxToolCalls; n < 0 || n > MaxDefaultToolCalls {
		return Invalid("field_invalid", "default_max_tool_calls", fmt.Sprintf("default_max_tool_calls is %d; use a number of calls from 1 to %d, or 0 for none", n, MaxDefaultToolCalls))
	}
	return nil
}

// Least has the smaller of each default of two who have a say in a call.
func (d Defaults) Least(other Defaults) Defaults {
	return Defaults{smaller(d.DefaultMaxTokens, other.DefaultMaxTokens), smaller(d.DefaultMaxToolCalls, other.DefaultMaxToolCalls)}
}

func smaller(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
