package adminapi

import (
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"aigateway/apierror"
	"aigateway/budget"
)

// errorDomain is ErrorInfo.domain of every error of ours.
const errorDomain = "aigateway"

// Keys of ErrorInfo.metadata.
const (
	infoType  = "type"  // error.type of the REST envelope: the kind, which a gRPC code is too coarse for
	infoParam = "param" // the field at fault
)

func codeOf(k budget.Kind) codes.Code {
	switch k {
	case budget.KindInvalid, budget.KindTooLarge:
		return codes.InvalidArgument
	case budget.KindUnauthenticated:
		return codes.Unauthenticated
	case budget.KindBudgetExceeded:
		return codes.FailedPrecondition
	case budget.KindPermission:
		return codes.PermissionDenied
	case budget.KindModelNotFound, budget.KindNotFound:
		return codes.NotFound
	case budget.KindConflict:
		return codes.Aborted
	case budget.KindRateLimited:
		return codes.ResourceExhausted
	case budget.KindProvider, budget.KindUnavailable:
		return codes.Unavailable
	case budget.KindTimeout:
		return codes.DeadlineExceeded
	default:
		return codes.Internal
	}
}

// statusOf is e for gRPC callers: a code, ErrorInfo with the reason, and for
// bad input BadRequest with the field at fault.
func statusOf(e *budget.Error) *status.Status {
	message := strings.ToValidUTF8(e.Message, "?") // protobuf refuses anything else
	info := &errdetails.ErrorInfo{
		Reason:   strings.ToUpper(apierror.Reason(e)),
		Domain:   errorDomain,
		Metadata: map[string]string{infoType: apierror.Type(apierror.OpenAI, e)},
	}
	details := []protoadapt.MessageV1{info}
	field := strings.ToValidUTF8(e.Field, "?")
	if field != "" {
		info.Metadata[infoParam] = field
	}
	if field != "" && e.Kind == budget.KindInvalid {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
			Field: field, Description: message, Reason: info.Reason,
		}}})
	}
	st := status.New(codeOf(e.Kind), message)
	detailed, err := st.WithDetails(details...)
	if err != nil {
		return st // without details the REST door falls back to the code
	}
	return detailed
}

// errorOf is statusOf backwards, for the REST door. Statuses that gRPC itself
// or the gateway made carry no details and are read by their code.
func errorOf(err error) *budget.Error {
	st := status.Convert(err)
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != errorDomain {
			continue
		}
		return &budget.Error{
			Kind:    kindOf(info.GetMetadata()[infoType]),
			Reason:  strings.ToLower(info.GetReason()),
			Field:   info.GetMetadata()[infoParam],
			Message: st.Message(),
		}
	}
	switch st.Code() {
	case codes.InvalidArgument:
		return &budget.Error{Kind: budget.KindInvalid, Message: "the request could not be read; /openapi.json describes it", Err: err}
	case codes.NotFound, codes.Unimplemented:
		return budget.NotFound("route_unknown", "no such route; /openapi.json lists them")
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return budget.Unavailable("decision_timeout", "the gateway did not answer in time; try again", err)
	default:
		return apierror.From(err)
	}
}

func kindOf(errorType string) budget.Kind {
	for k := budget.KindInternal; k <= budget.KindTimeout; k++ {
		if apierror.Type(apierror.OpenAI, &budget.Error{Kind: k}) == errorType {
			return k
		}
	}
	return budget.KindInternal
}
