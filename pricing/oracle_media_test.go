package pricing_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode/utf16"

	"aigateway/pricing"

	"pgregory.net/rapid"
)

func (c *oracleCall) drawing() bool {
	return c.endpoint == pricing.Images || c.endpoint == pricing.ImageEdits
}

func (c *oracleCall) hearing() bool {
	return c.endpoint == pricing.Transcriptions || c.endpoint == pricing.Translations
}

// edited is how many images a body brings to be changed.
func (c *oracleCall) edited() int64 {
	if c.endpoint != pricing.ImageEdits {
		return 0
	}
	return int64(len(c.list("images")))
}

// editedTokens is the most that they take.
func (c *oracleCall) editedTokens() int64 {
	rule, _ := c.row["image"].(map[string]any)
	switch {
	case c.edited() == 0, rule == nil && (c.fee("image_input") != nil || c.free() && !c.hasFees()):
		return 0
	case rule == nil:
		panic(refused("unbounded_media"))
	}
	each := intOf(rule["max_tokens"])
	if f := c.text("input_fidelity"); rule["high_tokens"] != nil && (f == "" || f == "low") {
		each = intOf(rule["high_tokens"])
	}
	return c.edited() * each
}

func (c *oracleCall) hasFees() bool {
	return slices.ContainsFunc(c.lists, func(l map[string]any) bool { return l["fees"] != nil })
}

// checkMedia refuses what is wrong with a call for images or speech.
func (c *oracleCall) checkMedia() {
	if c.drawing() {
		for name, r := range map[string][2]int64{"n": {1, 10}, "partial_images": {0, 3}, "frame_count": {1, 16}} {
			if v, there := c.m[name]; there && v != nil {
				if n, ok := c.number(name); !ok || n < r[0] || n > r[1] {
					panic(refused("field_invalid"))
				}
			}
		}
	}
	if c.endpoint == pricing.Speech && c.text("input") == "" {
		panic(refused("field_invalid"))
	}
}

// free reports whether no token of the model costs anything.
func (c *oracleCall) free() bool {
	return !slices.ContainsFunc(c.lists, func(l map[string]any) bool {
		for _, kind := range pricing.Kinds() {
			if p := decimal(l[kind]); p != nil && p.Sign() > 0 {
				return true
			}
		}
		return false
	})
}

// said is a member, else the model's default.
func (c *oracleCall) said(name string) string {
	if v := c.text(name); v != "" {
		return v
	}
	draws, _ := c.row["draws"].(map[string]any)
	standard, _ := draws[name].(string)
	return standard
}

func (c *oracleCall) size() string {
	if r := c.text("resolution"); r != "" {
		if s := c.text("size"); s != "" && s != r {
			return "auto"
		}
		return r
	}
	return c.said("size")
}

// pictures is how many images a body asks for, frames among them.
func (c *oracleCall) pictures() (n, whole int64) {
	n = 1
	if v, ok := c.number("n"); ok {
		n = v
	}
	frames, ok := c.number("frame_count")
	if !ok && c.text("output_format") == "gif" {
		frames = 9
	}
	return n * max(frames, 1), n
}

// pictureKind is the most specific fee an image has; empty: none.
func (c *oracleCall) pictureKind() string {
	for _, kind := range []string{"image_" + c.said("quality") + "_" + c.size(), "image_" + c.size(), "image_" + c.said("quality"), "image"} {
		if c.fee(kind) != nil {
			return kind
		}
	}
	return ""
}

// pieces are what is billed by the piece: images, characters.
func (c *oracleCall) pieces() map[string]int64 {
	switch {
	case c.drawing():
		n, _ := c.pictures()
		if kind := c.pictureKind(); kind != "" {
			out := map[string]int64{kind: n}
			if c.row["image"] == nil {
				out["image_input"] = c.edited()
			}
			return out
		}
	case c.endpoint == pricing.Speech && c.fee("character") != nil:
		return map[string]int64{"character": int64(len(utf16.Encode([]rune(c.text("input")))))}
	}
	return nil
}

// dearestOf is a kind's dearest price in force, in dollars; its parent's where it
// has none.
func (c *oracleCall) dearestOf(kind, parent string, reach int64) *big.Rat {
	if !c.priced(kind) {
		kind = parent
	}
	dearest := new(big.Rat)
	for _, l := range c.lists {
		if p := priceOf(l, kind, reach); p != nil && p.Cmp(dearest) > 0 {
			dearest = p
		}
	}
	return new(big.Rat).Quo(dearest, rat(1_000_000))
}

// made is what images and speech cost by token.
func (c *oracleCall) made(reach int64) *big.Rat {
	sum := new(big.Rat)
	switch {
	case c.drawing() && c.pictureKind() == "":
		draws, _ := c.row["draws"].(map[string]any)
		each := dearestPicture(draws, c.said("quality"), c.size())
		n, whole := c.pictures()
		partials, _ := c.number("partial_images")
		tokens := n*each + whole*partials*intOf(draws["partial_tokens"])
		sum.Mul(rat(tokens), c.dearestOf("output_image", "output", reach))
		sum.Add(sum, new(big.Rat).Mul(rat(whole*intOf(draws["text_tokens"])), c.dearestOf("output", "output", reach)))
	case c.endpoint == pricing.Speech && c.fee("character") == nil:
		if c.limit("max_output") == 0 || !c.priced("output_audio") {
			panic(refused("unbounded_media"))
		}
		sum.Mul(rat(c.limit("max_output")), c.dearestOf("output_audio", "output", reach))
	}
	return sum
}

func intOf(v any) int64 {
	n, _ := v.(int)
	return int64(n)
}

// dearestPicture looks through a model's tables: of a quality or size that it does
// not list, the dearest.
func dearestPicture(draws map[string]any, quality, size string) (most int64) {
	table, _ := draws["tokens"].(map[string]any)
	for q, sizes := range table {
		if table[quality] != nil && q != quality {
			continue
		}
		list := sizes.(map[string]any)
		for s, n := range list {
			if list[size] == nil || s == size {
				most = max(most, intOf(n))
			}
		}
	}
	factors, _ := draws["factors"].(map[string]any)
	for q, f := range factors {
		if factors[quality] == nil || q == quality {
			most = max(most, gridTokens(intOf(f), intOf(draws["max_pixels"]), size))
		}
	}
	if most == 0 {
		panic(refused("unbounded_media"))
	}
	return most
}

// gridTokens is OpenAI's calculator in rationals: a square of all pixels where the
// size says nothing.
func gridTokens(factor, pixels int64, size string) int64 {
	var w, h int64
	short, long, area := rat(1), rat(1), pixels
	if n, err := fmt.Sscanf(size, "%dx%d", &w, &h); n == 2 && err == nil && fmt.Sprintf("%dx%d", w, h) == size && w > 0 && h > 0 && w*h <= pixels && max(w, h) <= 3*min(w, h) {
		short, long, area = rat(min(w, h)), rat(max(w, h)), w*h
	}
	cells := new(big.Rat).Quo(new(big.Rat).Mul(rat(factor), short), long)
	cells.Add(cells, big.NewRat(1, 2)) // rounded half up
	whole := new(big.Int).Quo(cells.Num(), cells.Denom())
	sum := new(big.Rat).Mul(new(big.Rat).SetInt(whole), rat(factor))
	sum.Mul(sum, big.NewRat(2_000_000+area, 4_000_000))
	up := new(big.Int).Add(sum.Num(), new(big.Int).Sub(sum.Denom(), big.NewInt(1)))
	return up.Div(up, sum.Denom()).Int64()
}

// onlyFor notes that a model may be for something else.
func (s *sketch) onlyFor(m pricing.Model) {
	if own, ok := builtIn().Sheet(m.Slug); !ok || !slices.Contains(own.Endpoints, s.e) {
		s.risky++
	}
}

func (s *sketch) moderation() {
	switch s.pick("input kind", "text", "texts", "parts") {
	case "texts":
		s.add(`"input":[%s,%s]`, s.text("input"), s.text("more"))
	case "parts":
		s.risky++
		s.add(`"input":[{"type":"text","text":%s},{"type":"image_url","image_url":{"url":"https://a/b"}}]`, s.text("input"))
	default:
		s.add(`"input":%s`, s.text("input"))
	}
}

func (s *sketch) images() {
	s.add(`"prompt":%s`, s.text("prompt"))
	if s.e == pricing.ImageEdits {
		s.risky++
		s.add(`"images":[%s{"image_url":"https://a/b"}]`, strings.Repeat(`{"image_url":"https://a/c"},`, rapid.IntRange(0, 4).Draw(s.T, "images")))
		if s.often(3, "fidelity") {
			s.add(`"input_fidelity":%s`, s.pick("fidelity value", `"high"`, `"low"`, "null"))
		}
	}
	for name, values := range map[string][]string{
		"quality": {`"low"`, `"medium"`, `"high"`, `"xhigh"`, `"max"`, `"auto"`, `"standard"`, `"hd"`, "null"},
		"size":    {`"1024x1024"`, `"1024x1536"`, `"1536x1024"`, `"1792x1024"`, `"auto"`, `"3840x2160"`, `"2880x2880"`, `"9999x9999"`, `"100000x1"`, `"480x1408"`, `"0x1"`, `"x"`, "null"},
	} {
		if s.often(2, name) {
			s.add(`%q:%s`, name, s.pick(name+" value", values...))
		}
	}
	for name, most := range map[string]int{"n": 10, "partial_images": 3} {
		if s.often(3, name) {
			s.add(`%q:%d`, name, rapid.IntRange(1, most).Draw(s.T, name+" value"))
		}
	}
	if s.often(6, "animated") {
		s.add(`"output_format":%s`, s.pick("format", `"gif"`, `"png"`, "null"))
		if s.often(2, "frames") {
			s.add(`"frame_count":%d`, rapid.IntRange(1, 16).Draw(s.T, "frame count"))
		}
	}
	if s.often(6, "resolution") {
		s.add(`"resolution":%s`, s.pick("resolution value", `"1k"`, `"2k"`))
	}
	if s.often(20, "odd") {
		s.risky++
		s.add("%s", s.pick("odd value", `"svg":{"model":"m"}`, `"complexity":"high"`, `"style":"vivid"`))
	}
}

func (s *sketch) speech() {
	text := s.text("input")
	if text == `""` {
		s.risky++
	}
	s.add(`"input":%s`, text)
	if s.often(2, "events") {
		s.add(`"stream_format":%s`, s.pick("stream format", `"sse"`, `"audio"`, "null"))
	}
	s.add(`"voice":"alloy"`)
}

// unboundedPictures are members of a call for images that another model serves.
func (c *oracleCall) unboundedPictures() bool {
	return c.drawing() && (c.m["svg"] != nil || c.m["complexity"] != nil || strings.Contains(c.text("output_format"), "svg"))
}
