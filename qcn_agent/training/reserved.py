"""Names of public benchmark programs: no function of such a name is ever trained on."""

QUIXBUGS = frozenset(
    """bitcount breadth_first_search bucketsort depth_first_search detect_cycle find_first_in_sorted find_in_sorted
    flatten gcd get_factors hanoi is_valid_parenthesization kheapsort knapsack kth lcs_length levenshtein lis
    longest_common_subsequence max_sublist_sum mergesort merge_sort minimum_spanning_tree next_palindrome
    next_permutation pascal possible_change powerset quicksort quick_sort reverse_linked_list rpn_eval
    shortest_path_length shortest_path_lengths shortest_paths shunting_yard sieve sqrt subsequences to_base
    topological_ordering wrap""".split()
)
HUMANEVAL = frozenset(
    """Strongest_Extension add add_elements all_prefixes anti_shuffle any_int below_threshold below_zero bf by_length
    can_arrange car_race_collision change_base check_dict_case check_if_last_char_is_a_letter choose_num circular_shift
    closest_integer common compare compare_one concatenate correct_bracketing count_distinct_characters count_nums
    count_up_to count_upper cycpattern_check decimal_to_binary decode_cyclic decode_shift derivative digitSum digits
    do_algebra double_the_difference eat encode encrypt even_odd_count even_odd_palindrome exchange factorize fib fib4
    fibfib file_name_check filter_by_prefix filter_by_substring filter_integers find_closest_elements find_max find_zero
    fix_spaces fizz_buzz flip_case fruit_distribution generate_integers get_closest_vowel get_max_triples
    get_odd_collatz get_positive get_row greatest_common_divisor has_close_elements hex_key histogram how_many_times
    incr_list int_to_mini_roman intersection intersperse is_bored is_equal_to_sum_even is_happy is_multiply_prime
    is_nested is_palindrome is_prime is_simple_power is_sorted iscube largest_divisor largest_prime_factor
    largest_smallest_integers longest make_a_pile make_palindrome match_parens max_element max_fill maximum
    mean_absolute_deviation median minPath minSubArraySum modp monotonic move_one_ball multiply next_smallest
    numerical_letter_grade odd_count order_by_points pairs_sum_to_zero parse_music parse_nested_parens pluck prime_fib
    prime_length prod_signs remove_duplicates remove_vowels rescale_to_unit reverse_delete right_angle_triangle
    rolling_max rounded_avg same_chars search select_words separate_paren_groups simplify_fraction skjkasdkd
    smallest_change solution solve sort_array sort_even sort_numbers sort_third sorted_list_sum special_factorial
    specialFilter split_words starts_one_ends strange_sort_list string_sequence string_to_md5 string_xor strlen
    sum_product sum_squares sum_to_n total_match tri triangle_area triples_sum_to_zero truncate_number unique
    unique_digits valid_date vowels_count will_it_fly words_in_sentence words_string x_or_y""".split()
)
RESERVED = QUIXBUGS | HUMANEVAL
