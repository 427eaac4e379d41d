package pricing

// moderatedInput reads a text, or an array of texts or of parts such as chat has
// them.
func (p *parser) moderatedInput() error {
	switch p.dec.PeekKind() {
	case '"', 'n':
		return p.dec.SkipValue()
	case '[':
		return p.array(p.part)
	}
	return p.wrongType("a string or an array")
}
