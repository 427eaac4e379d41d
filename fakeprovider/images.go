package fakeprovider

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
)

// imagesRequest is a request to make or edit images.
type imagesRequest struct {
	prompt, quality, size string
	n, partials           int64
	stream                bool
	files                 int64 // images to edit
	edit                  bool
}

func (c *call) readImages() (imagesRequest, *refusal) {
	req := imagesRequest{n: 1}
	m, files, bad := c.form()
	if bad != nil {
		return req, bad
	}
	if bad := c.model(m); bad != nil {
		return req, bad
	}
	for name, to := range map[string]any{
		"prompt": &req.prompt, "quality": &req.quality, "size": &req.size, "n": &req.n, "partial_images": &req.partials, "stream": &req.stream,
	} {
		if bad := m.read(name, to); bad != nil {
			return req, bad
		}
	}
	c.record.Stream, req.edit = req.stream, strings.HasSuffix(c.r.URL.Path, "/edits")
	req.files = int64(len(files["image"]) + len(files["mask"]))
	var refs []json.RawMessage
	if bad := m.read("images", &refs); bad != nil {
		return req, bad
	}
	req.files += int64(len(refs))
	switch {
	case req.prompt == "":
		return req, invalid("prompt", "Missing required parameter: 'prompt'.")
	case req.n < 1 || req.n > 10:
		return req, invalid("n", "'n' must be between 1 and 10.")
	case req.partials < 0 || req.partials > 3 || req.partials > 0 && !req.stream:
		return req, invalid("partial_images", "'partial_images' must be between 0 and 3, for a stream.")
	}
	return req, nil
}

// tokensEach is what one image takes, as OpenAI publishes it for gpt-image-1: its
// own choice is medium, and high where the most is asked for.
func (r *imagesRequest) tokensEach(most bool) int64 {
	quality, size := r.quality, r.size
	if quality == "" || quality == "auto" {
		quality = "medium"
		if most {
			quality = "high"
		}
	}
	if most && (size == "" || size == "auto") {
		size = "1024x1536"
	}
	base := map[string]int64{"low": 272, "medium": 1056, "high": 4160}[quality]
	switch size {
	case "1024x1536":
		return base * 3 / 2
	case "1536x1024":
		return base*3/2 - map[string]int64{"low": 8, "medium": 16, "high": 32}[quality]
	}
	return base
}

// gridTokens is what one image takes by a grid: its cells, as many as the quality
// has along the long edge and their share along the short one, weighed by two
// million pixels and those of the image. By itself the model takes medium, or a
// square of the most pixels where the most is asked for.
func (r *imagesRequest) gridTokens(grid map[string]int64, most bool) int64 {
	cells, w, h := grid[r.quality], int64(0), int64(0)
	if cells == 0 {
		cells = grid["medium"]
		for _, n := range grid {
			if most {
				cells = max(cells, n)
			}
		}
	}
	if n, err := fmt.Sscanf(r.size, "%dx%d", &w, &h); n != 2 || err != nil || w < 1 || h < 1 || w*h > 8_294_400 {
		w, h = 1024, 1024
		if most {
			w, h = 2880, 2880
		}
	}
	long, short := max(w, h), min(w, h)
	across := (cells*short + long/2) / long
	return (cells*across*(2_000_000+w*h) + 3_999_999) / 4_000_000
}

// fileTokens is what one image to edit takes, at most and otherwise.
const fileTokens, fileTokensMost = 323, 1536

func (c *call) imagesUse(req imagesRequest) tokens {
	price := c.server.cfg.Models[c.record.Model]
	text, each, partials, file := textTokens(req.prompt), req.tokensEach(c.faults.Max), req.partials, int64(fileTokens)
	if price.Grid != nil {
		each = req.gridTokens(price.Grid, c.faults.Max)
	}
	if c.faults.Max {
		text, file = int64(len(req.prompt)), fileTokensMost
	} else {
		partials = min(partials, 1) // the image may be done before all of them
	}
	if price.Image > 0 {
		return tokens{images: req.n}
	}
	out := req.n * (each + 100*partials)
	return tokens{prompt: text + file*req.files, mediaIn: file * req.files, completion: out, mediaOut: out}
}

type imageUsage struct {
	Total         int64            `json:"total_tokens"`
	Input         int64            `json:"input_tokens"`
	InputDetails  map[string]int64 `json:"input_tokens_details"`
	Output        int64            `json:"output_tokens"`
	OutputDetails map[string]int64 `json:"output_tokens_details,omitempty"`
}

func (c *call) imageReport(use tokens) json.RawMessage {
	switch {
	case c.faults.NoUsage, use.images > 0:
		return nil
	case c.faults.BadUsage:
		return json.RawMessage(`{"input_tokens":"many","output_tokens":"few","total_tokens":"all"}`)
	}
	u := imageUsage{
		Total: use.prompt + use.completion, Input: use.prompt, Output: use.completion,
		InputDetails: map[string]int64{"text_tokens": use.prompt - use.mediaIn, "image_tokens": use.mediaIn},
	}
	if c.faults.Extra {
		u.OutputDetails = map[string]int64{"text_tokens": use.completion - use.mediaOut, "image_tokens": use.mediaOut}
	}
	return marshal(u)
}

func (c *call) serveImages() {
	req, bad := c.readImages()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	if !c.misbehave("prompt", req.prompt) {
		return
	}
	use := c.imagesUse(req)
	if !c.beginOrBill(use) {
		return
	}
	if req.stream {
		c.streamImages(req, use)
		return
	}
	c.bill(use)
	type image struct {
		Data string `json:"b64_json"`
	}
	answer := struct {
		Created int64           `json:"created"`
		Data    []image         `json:"data"`
		Usage   json.RawMessage `json:"usage,omitempty"`
	}{Created: c.record.At.Unix(), Usage: c.imageReport(use)}
	for i := range req.n {
		answer.Data = append(answer.Data, image{c.picture(i)})
	}
	c.deliverJSON(answer)
}

// picture is base64 of no image: nobody looks at it.
func (c *call) picture(i int64) string {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, i, len(c.record.Body)) // a hash never fails
	data := h.Sum(nil)
	for len(data) < 64+c.faults.Pad {
		data = append(data, data...)
	}
	return base64.StdEncoding.EncodeToString(data[:64+c.faults.Pad])
}

type imageEvent struct {
	Type    string          `json:"type"`
	Data    string          `json:"b64_json"`
	Created int64           `json:"created_at"`
	Index   *int64          `json:"partial_image_index,omitempty"`
	Usage   json.RawMessage `json:"usage,omitempty"`
}

// streamImages sends the unfinished images of each, then the finished one with
// what it used.
func (c *call) streamImages(req imagesRequest, use tokens) {
	s := c.newStream(plan{})
	s.named = true
	kind := "image_generation"
	if req.edit {
		kind = "image_edit"
	}
	s.serve(func() {
		for i := range req.n {
			for part := range req.partials {
				if !s.chunk(kind+".partial_image", imageEvent{Type: kind + ".partial_image", Data: c.picture(part), Created: c.record.At.Unix(), Index: &part}) {
					return
				}
			}
			own := tokens{prompt: use.prompt / req.n, mediaIn: use.mediaIn / req.n, completion: use.completion / req.n, mediaOut: use.mediaOut / req.n, images: use.images}
			if c.faults.NoDone || !s.chunk(kind+".completed", imageEvent{Type: kind + ".completed", Data: c.picture(i), Created: c.record.At.Unix(), Usage: c.imageReport(own)}) {
				return
			}
		}
	})
	c.bill(use) // an image is made, and billed, to its end
}
