package pricing

import "bytes"

// completionTokens is the output cap that the legacy completions API documents
// for a body without one. It is inserted, as not every server keeps to it.
const completionTokens = 16

// completionPrompt reads a text, token ids, or an array of either; each element
// is a prompt with choices of its own.
func (p *parser) completionPrompt() error {
	before := int(p.dec.InputOffset())
	err := p.embeddingsInput()
	end := int(p.dec.InputOffset())
	raw := bytes.TrimLeft(p.call.body[before:end], " \t\r\n:")
	p.call.prompts = p.call.items
	p.call.prompt = span{end - len(raw), end}
	return err
}
