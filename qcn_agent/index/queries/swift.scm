(class_declaration name: (type_identifier) @name) @definition.class
(class_declaration name: (user_type) @name) @definition.extension
(protocol_declaration name: (type_identifier) @name) @definition.interface
(function_declaration name: (simple_identifier) @name) @definition.function
(protocol_function_declaration name: (simple_identifier) @name) @definition.method
(init_declaration "init" @name) @definition.method
(source_file (property_declaration (pattern (simple_identifier) @name)) @definition.variable)
(class_body (property_declaration (pattern (simple_identifier) @name)) @definition.field)
(typealias_declaration name: (type_identifier) @name) @definition.type
(import_declaration) @import
(call_expression (simple_identifier) @reference)
(navigation_suffix suffix: (simple_identifier) @reference)
(user_type (type_identifier) @reference)
(line_string_literal) @string
(multi_line_string_literal) @string
(comment) @comment
(multiline_comment) @comment
