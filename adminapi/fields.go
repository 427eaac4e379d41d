package adminapi

import (
	"fmt"
	"slices"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// readOnly reports whether a field is marked OUTPUT_ONLY.
func readOnly(fd protoreflect.FieldDescriptor) bool {
	behaviours, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviours, annotations.FieldBehavior_OUTPUT_ONLY)
}

// refuseReadOnly refuses a message that sets what only the server sets.
// Ignoring it would be kinder to clients that send back what they read, and
// would let others believe that they had reset spent_cents.
func refuseReadOnly(m proto.Message) error {
	var err error
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if readOnly(fd) {
			err = readOnlyError(string(fd.Name()))
		}
		return err == nil
	})
	return err
}

func readOnlyError(name string) *budget.Error {
	switch name {
	case "cap", "cap_cents", "period": // what a budget is read with, and not set with
		return budget.Invalid("field_invalid", name, name+" is read-only; send monthly_cap_cents, daily_cap_cents, weekly_cap_cents or total_cap_cents")
	}
	return budget.Invalid("field_invalid", name, name+" is read-only; leave it out")
}

// masked is the part of in that a change takes: what the mask names, or without
// a mask everything that is set. The etag is always taken.
func masked(in *aigatewayv1.Budget, mask *fieldmaskpb.FieldMask) (*aigatewayv1.Budget, error) {
	if in == nil {
		return nil, budget.Invalid("field_invalid", "budget", "budget is missing; send a cap, time_zone, default_max_tokens or default_max_tool_calls")
	}
	if len(mask.GetPaths()) == 0 {
		return in, refuseReadOnly(in)
	}
	out := &aigatewayv1.Budget{Etag: in.GetEtag()}
	from, to := in.ProtoReflect(), out.ProtoReflect()
	for _, path := range mask.GetPaths() {
		fd := from.Descriptor().Fields().ByName(protoreflect.Name(path))
		switch {
		case fd == nil:
			return nil, budget.Invalid("unknown_field", "update_mask", fmt.Sprintf("update_mask names %q; use fields of a budget, such as monthly_cap_cents", clip(path)))
		case readOnly(fd):
			return nil, readOnlyError(path)
		case from.Has(fd):
			to.Set(fd, from.Get(fd))
		case fd.HasPresence():
			return nil, budget.Invalid("field_invalid", path, path+" is named in update_mask but not set; set it, or leave it out of the mask")
		}
	}
	return out, nil
}
