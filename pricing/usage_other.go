package pricing

import "github.com/go-json-experiment/json/jsontext"

// cohereMeta is the meta object of Cohere's answers. Only billed_units is
// billed; what it calls tokens is not.
type cohereMeta struct {
	Billed group[cohereUnits] `json:"billed_units"`
	Total  rounded            `json:"total_tokens"`
	Prompt rounded            `json:"prompt_tokens"`
	Input  rounded            `json:"input_tokens"`
}

type cohereUnits struct {
	Units rounded `json:"search_units"`
	Input rounded `json:"input_tokens"`
	Total rounded `json:"total_tokens"`
	unnamed
}

// readSearchUnits reads what Cohere bills a rerank call by.
func readSearchUnits(raw string) (usage, error) {
	var m cohereMeta
	if readReport(raw, &m) != nil || !m.Billed.v.Units.set || m.Billed.v.Units.bad {
		return usage{}, errUsage
	}
	return usage{units: m.Billed.v.Units.n}, nil
}

// readRankTokens reads the tokens a reranker bills: Jina, Voyage and vLLM give
// a total, Cohere's newer models billed input tokens.
func readRankTokens(raw string) (usage, error) {
	var m cohereMeta
	if readReport(raw, &m) != nil {
		return usage{}, errUsage
	}
	n := largest(&m.Total.tally, &m.Prompt.tally, &m.Input.tally, &m.Billed.v.Total.tally, &m.Billed.v.Input.tally)
	if !n.set || n.bad {
		return usage{}, errUsage
	}
	u := usage{part: part{prompt: n.n}}
	u.counts[input] = n.n
	return u, nil
}

// readCustom reads an unknown provider's report by its extractor's paths.
func readCustom(raw string, p *pin) (usage, error) {
	x := p.paths
	if x == nil || !jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		return usage{}, errUsage
	}
	read := func(path string) (c tally) {
		if path != "" {
			valuesAt(jsontext.Value(raw), path, func(v jsontext.Value) { c.take(v, true) })
		}
		return c
	}
	c := counts{
		cacheOutside: x.CacheOutside, prompt: read(x.Input), completion: read(x.Output), total: read(x.Total),
		cached: read(x.CacheRead), writeShort: read(x.CacheWrite), writeLong: read(x.CacheWriteLong),
		audioIn: read(x.InputAudio), imageIn: read(x.InputImage), audioOut: read(x.OutputAudio),
	}
	c.write = tally{n: c.writeShort.value() + c.writeLong.value(), bad: c.writeShort.bad || c.writeLong.bad}
	u, err := c.normalise(p)
	if x.Cost != "" {
		var d dollars
		valuesAt(jsontext.Value(raw), x.Cost, d.take)
		u.cost, u.hasCost = d.value()
	}
	return u, err
}
