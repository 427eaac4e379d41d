package pricing

import (
	"fmt"

	"aigateway/budget"
)

// A sample of a speaker's voice lasts at most ten seconds, says OpenAI.
const speakerMillis = 10_000

// recordingFile takes the recording to write down.
func (p *parser) recordingFile(data []byte) error {
	millis, ok := longestRecording(data)
	p.call.audios = append(p.call.audios, audio{millis: millis, endless: !ok, field: "file"})
	return nil
}

// speakerSample reads one sample, or a list of them.
func (p *parser) speakerSample() error {
	one := func(int) error {
		if len(p.call.audios) >= maxParts {
			return tooMany("samples", maxParts)
		}
		p.call.audios = append(p.call.audios, audio{millis: speakerMillis, field: p.path()})
		return p.walk()
	}
	if p.dec.PeekKind() == '[' {
		return p.array(one)
	}
	return one(0)
}

// chunking: a recording in pieces may fill the context with each.
func (p *parser) chunking() error {
	p.call.chunked = p.call.chunked || p.dec.PeekKind() != 'n'
	return p.walk()
}

// transcriptFormat: of these forms only JSON reports what was used.
func (p *parser) transcriptFormat() error {
	format, err := p.text()
	switch format {
	case "text", "srt", "vtt":
		p.call.rawAnswer = true
	}
	return err
}

func completeHearing(c *Call) error {
	if len(c.audios) == 0 {
		c.refuse("unbounded_media", "file", "file is missing, so nobody knows how long the recording is; send it in a form, multipart/form-data")
	}
	return nil
}

// length is how long a recording can last, in milliseconds: where its bytes do not
// tell, the most that the provider takes, or that fits into the context.
func (m *Model) length(c *Call, au audio) (int64, error) {
	r := m.Row.rules
	_, bySecond := m.Row.fees[feeAudio]
	switch {
	case !au.endless:
		return au.millis, nil
	case r.audioMost > 0:
		return r.audioMost * 1000, nil
	case !bySecond && !c.chunked && m.Row.Context > 0 && r.audioRate > 0:
		return m.Row.Context*1000/r.audioRate + 1000, nil
	}
	return 0, budget.Invalid("unbounded_media", au.field, fmt.Sprintf("%s: nobody can tell from its bytes how long the recording is; send wav, mp3, flac, ogg, m4a of AAC or webm of Opus, which are whole and in no fragments", au.field))
}

// perSecond is a fee by the minute, by the second.
func perSecond(fee int64) int64 { return (fee + 59) / 60 }

// hear bounds what is written down: by the second where the model is billed so,
// else by its longest answer. The recording itself is among the input then.
func (m *Model) hear(a *arithmetic, c *Call, tier *rates) error {
	var millis int64
	for _, au := range c.audios {
		n, err := m.length(c, au)
		if err != nil {
			return err
		}
		millis += n
	}
	if fee, ok := m.Row.fees[feeAudio]; ok {
		seconds := max((millis+999)/1000, m.Row.rules.audioLeast)
		a.fee(feeAudio, seconds, perSecond(fee))
		return nil
	}
	if m.Row.MaxOutput == 0 {
		return budget.Invalid("max_output_unknown", "model", fmt.Sprintf("the output limit of %s is unknown; name another model, or add to the configuration:\nmodels:\n- model: %s\n  limits: {max_output: <tokens>}", m.Slug, m.Slug))
	}
	most := m.Row.MaxOutput
	if c.chunked { // each piece may have that much, but nobody speaks faster
		most = max(most, (millis*m.Row.rules.audioRate+999)/1000)
	}
	a.made = append(a.made, madeTokens{"text", most, tier.price(output), "the model's longest answer"})
	return nil
}
