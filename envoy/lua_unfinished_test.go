package envoy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What says itself that it is not finished, or ends in something else than its
// report, has not ended with that report.
func TestUnfinishedAnswersAreNotDone(t *testing.T) {
	v := newVM(t)
	text := `{"choices":[{"index":0,"delta":{"content":"hi"}}],"usage":` + use + `}`
	for name, tt := range map[string]struct {
		body string
		done bool
	}{
		"events that end in an error":      {"data: " + text + "\n\ndata: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n", false},
		"events with no error":             {"data: " + text + "\n\ndata: {\"error\":null}\n\ndata: [DONE]\n\n", true},
		"events with an empty error":       {"data: " + text + "\n\ndata: {\"error\":{}}\n\ndata: [DONE]\n\n", true},
		"a long error":                     {"data: " + text + "\n\ndata: {\"error\":\"" + pad("x", 9000) + "\"}\n\ndata: [DONE]\n\n", false},
		"an error with a report":           {"data: {\"error\":{\"message\":\"x\"},\"usage\":" + use + "}\n\ndata: [DONE]\n\n", true},
		"lines, the last without a report": {text + "\n" + `{"choices":[{"index":0,"delta":{"content":"more"}}]}` + "\n", false},
		"lines, each with a report":        {text + "\n" + text + "\n", true},
		"lines, the last with the report":  {`{"choices":[{"index":0,"delta":{"content":"hi"}}]}` + "\n" + text, true},
		"a document, then the end mark":    {text + "\n\ndata: [DONE]\n\n", true},
		"a response that is queued":        {`{"id":"resp_1","status":"queued","output":[],"usage":` + use + `}`, false},
		"a response that goes on":          {`{"id":"resp_1","usage":` + use + `,"output":[],"status":"in_progress"}`, false},
		"a response that ended":            {`{"id":"resp_1","status":"incomplete","output":[],"usage":` + use + `}`, true},
		"a response whose item goes on":    {`{"id":"resp_1","status":"completed","output":[{"status":"in_progress"}],"usage":` + use + `}`, true},
		"a report in what is called meta":  {`{"results":[],"meta":{"billed_units":{"search_units":1}}}`, true},
	} {
		for _, size := range []int{len(tt.body), 1, 5} {
			got := v.respond(jsn, false, chop(tt.body, size)...)
			if diff := cmp.Diff(tt.done, got.Report["done"] == true); diff != "" || got.Report["usage"] == nil {
				t.Errorf("%s by %d: done (-want +got):\n%s%v", name, size, diff, got.Report)
			}
		}
	}
}
