package pricing

import (
	"encoding/binary"
	"errors"

	"aigateway/budget"
)

// recordVersion is the first byte of a record.
const recordVersion = 1

// numbers are the parts of a bound that are numbers, in the order they have in a
// record: it never changes within a version.
func (a *arithmetic) numbers() [22]*int64 {
	return [...]*int64{
		&a.text, &a.overhead, &a.images, &a.audio, &a.documents, &a.input, &a.rendered, &a.hidden,
		&a.hops, &a.growth, &a.context, &a.outputs, &a.choices, &a.limit, &a.foreign, &a.in, &a.out,
		&a.tier, &a.refusal, &a.feeUses, &a.counted.tokens, &a.counted.bytes,
	}
}

// Record is how the bound came about, in some dozens of bytes that hold no word of
// the body: RecordedLines reads it. nil where there is no bound.
func (b *Bound) Record() []byte {
	a := &b.sum
	if a.factor.den == 0 {
		return nil
	}
	var storage [256]byte
	flags := byte(a.inKind) << 2
	if a.clamped {
		flags |= 1
	}
	if a.routed {
		flags |= 2
	}
	r := append(storage[:0], recordVersion, flags)
	for _, n := range a.numbers() {
		r = binary.AppendUvarint(r, uint64(*n))
	}
	r = binary.AppendUvarint(r, uint64(b.InjectedCap))
	r = binary.AppendUvarint(r, uint64(b.InjectedToolCalls))
	r = appendRatio(r, a.factor)
	r = binary.AppendUvarint(binary.AppendUvarint(r, a.fees.hi), a.fees.lo)
	r = appendText(appendText(r, a.hiddenNote), a.countedBy)
	r = append(r, byte(len(a.made)))
	for i := range a.made {
		m := &a.made[i]
		r = appendText(appendText(r, m.what), m.note)
		r = binary.AppendUvarint(binary.AppendUvarint(r, uint64(m.tokens)), uint64(m.pico))
	}
	r = append(r, byte(len(a.byUse)))
	for i := range a.byUse {
		f := &a.byUse[i]
		r = appendText(r, f.kind)
		r = binary.AppendUvarint(binary.AppendUvarint(r, uint64(f.uses)), uint64(f.pico))
	}
	return append([]byte(nil), r...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// RecordedLines are the lines of the bound that a record is of, as Bound.Lines
// has them. held is what was held for the call: the bound, or less where a smaller
// output cap was inserted than the record has. No record has no lines.
func RecordedLines(record []byte, held budget.Amount) ([]budget.Line, error) {
	if len(record) == 0 {
		return nil, nil
	}
	b, err := readRecord(record)
	if err != nil {
		return nil, err
	}
	a := &b.sum
	var ok bool
	if b.Amount, ok = a.total(a.limit, 0); ok && b.Amount > held && b.InjectedCap > 0 {
		var limit int64
		if limit, ok = b.capWithin(held, 1); ok {
			a.limit, b.InjectedCap = limit, limit
			b.Amount, ok = a.total(limit, 0)
		}
	}
	if !ok {
		return nil, errRecord
	}
	return b.Lines(), nil
}

var errRecord = errors.New("the record of a bound is damaged, or of another version")

func readRecord(record []byte) (*Bound, error) {
	r := fieldReader{rest: record}
	b := &Bound{}
	a := &b.sum
	version, flags := r.byte(), r.byte()
	a.clamped, a.routed, a.inKind = flags&1 != 0, flags&2 != 0, bucket(flags>>2)
	for _, n := range a.numbers() {
		*n = r.count()
	}
	b.InjectedCap, b.InjectedToolCalls = r.count(), r.count()
	a.factor = r.ratio()
	a.fees.hi, a.fees.lo = r.uvarint(), r.uvarint()
	a.hiddenNote, a.countedBy = r.longText(), r.longText()
	for range r.byte() {
		a.made = append(a.made, madeTokens{what: r.longText(), note: r.longText(), tokens: r.count(), pico: r.count()})
	}
	for range r.byte() {
		a.byUse = append(a.byUse, countedFee{r.longText(), r.count(), r.count()})
	}
	if version != recordVersion || r.bad || len(r.rest) > 0 || a.inKind >= bucketCount || a.hops > 1 && a.growth == 0 {
		return nil, errRecord
	}
	return b, nil
}
