package pricing

import "bytes"

// completionTokens is the output cap that the legacy completions API documents
// for a body without one. It is inserted, as not every server keeps to it.
const completionTokens = 16

// completionsMember reads one top-level member of a legacy completion.
func (p *parser) completionsMember(name []byte) (err error) {
	c := &p.call
	switch string(name) {
	case "prompt":
		return p.completionPrompt()
	case "stream":
		c.Stream, err = p.boolean()
	case "stream_options":
		return p.streamOptions()
	case "max_tokens":
		return p.capField(&c.maxTokens)
	case "max_completion_tokens":
		return p.capField(&c.maxCompletion)
	case "n", "best_of":
		n, set, err := p.integer(1, maxChoices)
		if set {
			c.choices = max(c.choices, n)
		}
		return err
	case "prompt_embeds":
		return p.refused(string(name), "unbounded_input", "is input that is no text and has no bound; send prompt")
	default:
		return p.commonMember(name)
	}
	return err
}

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
