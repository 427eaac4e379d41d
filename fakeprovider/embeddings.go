package fakeprovider

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
)

// defaultDimensions is the length of a vector when the request names none:
// short, as nobody compares these vectors.
const defaultDimensions = 16

// embeddingsRequest is a request to the embeddings endpoint.
type embeddingsRequest struct {
	tokens     []int64 // prompt tokens of each input
	bytes      int64   // of all texts; elements of token arrays
	first      string  // text of the first input
	dimensions int
	base64     bool
}

func (c *call) readEmbeddings() (embeddingsRequest, *refusal) {
	m, bad := c.members()
	if bad != nil {
		return embeddingsRequest{}, bad
	}
	if bad := c.model(m); bad != nil {
		return embeddingsRequest{}, bad
	}
	req := embeddingsRequest{dimensions: defaultDimensions}
	if bad := m.read("dimensions", &req.dimensions); bad != nil {
		return embeddingsRequest{}, bad
	}
	if req.dimensions < 1 || req.dimensions > 4096 {
		return embeddingsRequest{}, invalid("dimensions", "'dimensions' must be between 1 and 4096.")
	}
	format := "float"
	if bad := m.read("encoding_format", &format); bad != nil {
		return embeddingsRequest{}, bad
	}
	if format != "float" && format != "base64" {
		return embeddingsRequest{}, invalid("encoding_format", "'encoding_format' must be float or base64.")
	}
	req.base64 = format == "base64"
	return req, req.readInput(m["input"])
}

// readInput takes the four forms of input: a text, texts, tokens, token arrays.
func (req *embeddingsRequest) readInput(raw json.RawMessage) *refusal {
	var text string
	var texts []string
	var tokens []int64
	var arrays [][]int64
	switch {
	case len(raw) == 0:
	case json.Unmarshal(raw, &text) == nil && text != "":
		texts = []string{text}
	case json.Unmarshal(raw, &texts) == nil:
	case json.Unmarshal(raw, &tokens) == nil:
		texts, arrays = nil, [][]int64{tokens}
	case json.Unmarshal(raw, &arrays) == nil:
		texts = nil
	}
	for i, t := range texts {
		if i == 0 {
			req.first = t
		}
		req.tokens = append(req.tokens, max(1, textTokens(t)))
		req.bytes += int64(len(t))
	}
	for _, a := range arrays {
		req.tokens = append(req.tokens, int64(len(a)))
		req.bytes += int64(len(a))
	}
	if len(req.tokens) == 0 || len(req.tokens) > 2048 {
		return invalid("input", "'input' must be a text, an array of up to 2048 texts, tokens, or an array of token arrays.")
	}
	for i, n := range req.tokens {
		if n < 1 || n > 8192 {
			return invalid(fmt.Sprintf("input[%d]", i), "Each input must have 1 to 8192 tokens.")
		}
	}
	return nil
}

func (c *call) serveEmbeddings() {
	req, bad := c.readEmbeddings()
	if bad != nil {
		c.refuse(*bad)
		return
	}
	if !c.misbehave("input", req.first) {
		return
	}
	var prompt int64
	for _, n := range req.tokens {
		prompt += n
	}
	if c.faults.Max {
		prompt = req.bytes
	}
	if !c.begin() {
		c.billAbandoned(plan{prompt: prompt})
		return
	}
	c.bill(tokens{prompt: prompt})
	c.deliverJSON(c.embeddings(req, prompt))
}

type embedding struct {
	Object string `json:"object"`
	Index  int    `json:"index"`
	Vector any    `json:"embedding"` // []float32, or a base64 string
}

type embeddingList struct {
	Object string          `json:"object"`
	Data   []embedding     `json:"data"`
	Model  string          `json:"model"`
	Usage  json.RawMessage `json:"usage,omitempty"`
}

func (c *call) embeddings(req embeddingsRequest, prompt int64) embeddingList {
	list := embeddingList{Object: "list", Model: c.served()}
	for i := range req.tokens {
		list.Data = append(list.Data, embedding{Object: "embedding", Index: i, Vector: req.vector(i)})
	}
	switch {
	case c.faults.NoUsage:
	case c.faults.BadUsage:
		list.Usage = json.RawMessage(`{"prompt_tokens":"many"}`)
	default:
		list.Usage = fmt.Appendf(nil, `{"prompt_tokens":%d,"total_tokens":%d}`, prompt, prompt)
	}
	return list
}

// vector is a unit vector that depends on the input's place and length.
func (req *embeddingsRequest) vector(i int) any {
	v := make([]float32, req.dimensions)
	for d := range v {
		angle := float64((i+1)*(d+1)) + float64(req.tokens[i])
		v[d] = float32(math.Cos(angle) / math.Sqrt(float64(req.dimensions)))
	}
	if !req.base64 {
		return v
	}
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

var _ http.Handler = (*Server)(nil)
