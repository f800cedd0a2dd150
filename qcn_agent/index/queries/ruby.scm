(method name: (_) @name) @definition.method
(singleton_method name: (_) @name) @definition.method
(class name: (_) @name) @definition.class
(module name: (_) @name) @definition.module
(program (assignment left: (constant) @name) @definition.constant)
(call method: (identifier) @_require arguments: (argument_list (string)) (#match? @_require "^require(_relative)?$")) @import
(call method: (identifier) @reference)
(superclass (constant) @reference)
(call receiver: (constant) @reference)
(string) @string
(comment) @comment
