package failure

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
)

// formatRules read the errors of decoders: the bytes are not what they should
// be, and will not be the next time.
var formatRules = []rule{
	{is[*json.SyntaxError], always(ClassFormat)},
	{is[*json.UnmarshalTypeError], always(ClassFormat)},
	{is[*xml.SyntaxError], always(ClassFormat)},
	{is[xml.UnmarshalError], always(ClassFormat)},
	{is[base32.CorruptInputError], always(ClassFormat)},
	{is[base64.CorruptInputError], always(ClassFormat)},
	{is[hex.InvalidByteError], always(ClassFormat)},
	{isTypeOf(hex.ErrLength), only(hex.ErrLength, ClassFormat)},
}
