package pricing

// embeddingsInput reads a text, token ids, or an array of either.
func (p *parser) embeddingsInput() error {
	c := &p.call
	switch p.dec.PeekKind() {
	case '"':
		c.items = 1
		return p.dec.SkipValue()
	case 'n':
		return p.dec.SkipValue()
	case '[':
	default:
		return p.wrongType("a string or an array")
	}
	texts, loose := false, false
	err := p.array(func(int) error {
		switch p.dec.PeekKind() {
		case '"':
			texts = true
			c.items++
			return p.dec.SkipValue()
		case '0':
			loose = true
			return p.tokenID()
		case '[':
			c.items++
			c.tokenInput = true
			return p.array(func(int) error { return p.tokenID() })
		case '{':
			err := p.walk()
			field := p.path()
			c.refuse("unbounded_media", field, field+" is an object, which has no bound; send text or token ids")
			return err
		}
		return p.wrongType("text or token ids")
	})
	if err != nil {
		return err
	}
	if loose {
		c.items++
		c.tokenInput = true
	}
	if loose && c.items > 1 || texts && c.tokenInput {
		return p.invalid("mixes texts and token ids; send one kind")
	}
	return nil
}

func (p *parser) tokenID() error {
	_, set, err := p.integer(0, 1<<31-1)
	if err == nil && !set {
		err = p.invalid("is null; send token ids")
	}
	p.call.tokens++
	return err
}
