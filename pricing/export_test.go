package pricing

// Scale is ceil(hi:lo × num/den) of a 128-bit number, for tests against
// math/big.
func Scale(hi, lo, num, den uint64) (rhi, rlo uint64, ok bool) {
	w := wide{hi: hi, lo: lo}.times(ratio{num, den})
	return w.hi, w.lo, !w.bad
}

// SumProduct is hi:lo + count × pico.
func SumProduct(hi, lo uint64, count, pico int64) (rhi, rlo uint64, ok bool) {
	w := wide{hi: hi, lo: lo}.plus(count, pico)
	return w.hi, w.lo, !w.bad
}

// MostTokens bounds a text's tokens with a public tokenizer, as a bound does.
func MostTokens(name, text string, alone bool) (int64, error) {
	t, err := newTokenizer(name)
	if err != nil {
		return 0, err
	}
	room := maxCounted
	return t.most([]byte(text), alone, &room), nil
}

// Acting are the names of top-level members that an endpoint reads or refuses.
func Acting(e Endpoint) (read, refused []string) {
	for _, m := range e.declared().members.members {
		switch {
		case m.reason != "":
			refused = append(refused, m.name)
		case m.acts():
			read = append(read, m.name)
		}
	}
	return read, refused
}

// PDFBound is the most pages and bytes of text of a PDF; false: neither is certain.
func PDFBound(raw []byte) (pages, text int64, ok bool) {
	f := pdfFile{raw: raw, room: maxInflated}
	return f.bound()
}

// Round gives all models a round overhead, of which numbers worked out by hand are
// plain: 1,000 tokens a call, 100 of embeddings.
func Round(c *Catalog) *Catalog {
	for _, e := range c.names.slugs {
		for _, row := range e.rows {
			switch o := &row.rules.overhead; {
			case o.tools > 0:
				*o = overhead{call: 1000}
			case o.marked:
				*o = overhead{call: 100}
			}
		}
	}
	return c
}
