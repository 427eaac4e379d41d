package ledger

import (
	"encoding/binary"
	"time"

	"aigateway/budget"
)

// detail is what a row tells of its call that no sum needs, in one blob.
type detail struct {
	took       time.Duration // from its reservation to its end, in whole ms; negative: its end is unknown
	status     int           // HTTP status of the provider; 0: none
	tokens     budget.Tokens
	served     string
	arithmetic []byte // opaque, see budget.Request
}

const detailVersion = 1

// append encodes d behind b.
func (d *detail) append(b []byte) []byte {
	b = append(b, detailVersion)
	for _, n := range [...]int64{d.took.Milliseconds() + 1, int64(d.status), d.tokens.Input, d.tokens.CacheRead, d.tokens.CacheWrite, d.tokens.Output, int64(len(d.served))} {
		b = binary.AppendUvarint(b, uint64(max(n, 0)))
	}
	return append(append(b, d.served...), d.arithmetic...)
}

// decodeDetail reads what append wrote. A row from before there were details has
// none, nor has a damaged one: they decide nothing, so they stop nothing. It keeps
// nothing of b.
func decodeDetail(b []byte) detail {
	none := detail{took: -time.Millisecond}
	if len(b) == 0 || b[0] != detailVersion {
		return none
	}
	b = b[1:]
	var n [7]int64
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 || int64(v) < 0 {
			return none
		}
		n[i], b = int64(v), b[size:]
	}
	if n[6] > int64(len(b)) {
		return none
	}
	return detail{
		took: time.Duration(n[0]-1) * time.Millisecond, status: int(n[1]),
		tokens: budget.Tokens{Input: n[2], CacheRead: n[3], CacheWrite: n[4], Output: n[5]},
		served: string(b[:n[6]]), arithmetic: append([]byte(nil), b[n[6]:]...),
	}
}

// detail is what e's row tells of its call.
func (e *event) detail(b []byte) []byte {
	d := detail{took: -time.Millisecond, status: e.status, tokens: e.tokens, served: e.served, arithmetic: e.h.arithmetic}
	if e.end > 0 {
		d.took = time.Duration(max(0, e.end-e.h.reservedAt))
	}
	return d.append(b)
}
