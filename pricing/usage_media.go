package pricing

import "slices"

// readMedia reads the usage of OpenAI's images and audio. Where it does not say
// of which kind tokens are, they are of the kind that the model is for: images,
// speech, or recordings.
func readMedia(raw string, p *pin) (usage, error) {
	if slices.ContainsFunc(p.counted, func(f countedFee) bool { return f.kind == feeAudio }) {
		return readSeconds(raw)
	}
	var r openAIUsage
	if readReport(raw, &r) != nil {
		return usage{}, errUsage
	}
	c := r.counts(true)
	u, err := c.normalise(p)
	if p.has(pinTicks) {
		u.readTicks(&r.Ticks) // images by the piece have no tokens
	}
	if err != nil && !u.hasCost {
		return u, err
	}
	tier := p.ratesFor(u.prompt)
	if tier == nil {
		return u, nil
	}
	u.suppose(tier, inputAudio, &c.textIn)
	if p.endpoint() == ImageEdits {
		u.suppose(tier, inputImage, &c.textIn)
	}
	u.suppose(tier, outputAudio, &c.textOut)
	u.suppose(tier, outputImage, &c.textOut)
	return u, nil
}

// suppose takes for tokens of b, where they have a price, what is not said to be text.
func (u *usage) suppose(tier *rates, b bucket, text *tally) {
	if rest := &u.counts[b.parent()]; tier.priced(b) {
		n := max(0, *rest-text.value())
		u.counts[b], *rest = u.counts[b]+n, *rest-n
	}
}

// readSeconds reads how long a recording was, of a model that is billed by that.
func readSeconds(raw string) (usage, error) {
	var r struct {
		Seconds rounded `json:"seconds"`
		Audio   rounded `json:"prompt_audio_seconds"` // Mistral
	}
	if readReport(raw, &r) != nil {
		return usage{}, errUsage
	}
	n := largest(&r.Seconds.tally, &r.Audio.tally)
	if !n.set || n.bad {
		return usage{}, errUsage
	}
	return usage{seconds: uses{n.n, true}}, nil
}
