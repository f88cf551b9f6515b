package failure

var serviceRules = []rule{}
