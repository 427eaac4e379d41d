package pricing

import (
	"fmt"
	"unicode/utf16"

	"aigateway/budget"
)

// spokenText reads the text to be spoken. Characters are counted as UTF-16 has
// them, which is never fewer than by any other count of characters.
func (p *parser) spokenText() error {
	text, err := p.text()
	for _, r := range text {
		p.call.spoken += int64(utf16.RuneLen(r))
	}
	return err
}

// streamFormat: only sse, which not every model has, reports what was used.
func (p *parser) streamFormat() error {
	format, err := p.text()
	p.call.Stream = format == "sse"
	return err
}

func completeSpeech(c *Call) error {
	c.rawAnswer = !c.Stream
	if c.spoken == 0 {
		return budget.Invalid("field_invalid", "input", "input is missing; send the text to be spoken")
	}
	return nil
}

// speak bounds speech: by character where the model is billed so, else by the
// model's longest answer.
func (m *Model) speak(a *arithmetic, c *Call, tier *rates) error {
	if fee, ok := m.Row.fees[feeCharacter]; ok {
		a.fee(feeCharacter, c.spoken, fee)
		return nil
	}
	if m.Row.MaxOutput == 0 || !tier.priced(outputAudio) {
		return budget.Invalid("unbounded_media", "model", fmt.Sprintf("nobody has said what speech of %s costs; name another model, or add to the configuration:\nmodels:\n- model: %s\n  limits: {max_output: <tokens>}\n  prices:\n  - {output_audio: <USD per million tokens>}", m.Slug, m.Slug))
	}
	a.made = append(a.made, madeTokens{"speech", m.Row.MaxOutput, tier.price(outputAudio), "the model's longest answer"})
	return nil
}
