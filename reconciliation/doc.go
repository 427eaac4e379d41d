// Package reconciliation compares what a provider says it billed with what the
// ledger recorded, and works out the corrections.
//
// It reads the usage and cost exports of OpenAI and Anthropic, as files or from
// their admin APIs, adds them up per UTC day and model, and sets the recorded
// calls against them. It changes nothing: cmd/aigateway reads the ledger's side
// over the API and books corrections there.
//
// Providers know no tags. The difference of a day and a model is exact; its
// split over tags is in proportion to what each tag was recorded with.
package reconciliation
