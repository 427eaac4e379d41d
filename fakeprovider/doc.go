// Package fakeprovider is an OpenAI-compatible model provider without models:
// it answers chat completions (streamed or not), embeddings and the model list
// the way real providers do, counts tokens by a fixed rule, keeps its own bill,
// and misbehaves on request.
//
// It serves `aigateway demo` and the end-to-end tests, where its bill is the
// oracle that the ledger is compared with. It therefore imports nothing of
// ours: prices come from the caller, the arithmetic is its own.
package fakeprovider
